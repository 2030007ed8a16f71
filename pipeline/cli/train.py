"""`evoseg train`: a bundle's train.yaml by MONAI's own workflow, with checked settings and a progress bar.

Overlays are configs that MONAI reads on top of train.yaml (configs/*.yaml, or anybody's). Folds are runs one after the
other, each in a folder of its own; one that is finished is not run again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from pipeline.data import roots
from pipeline.data.config import SEPARATOR, entries, keys, load, near, without_plus
from pipeline.errors import InputError, root_cause


def train(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle's name or folder.")],
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="A dataset folder, as `evoseg prepare` writes it.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a key of train.yaml; `::` between levels. May be repeated."
        ),
    ] = None,
    overlay: Annotated[
        list[str] | None,
        typer.Option(
            "--overlay",
            metavar="NAME|FILE",
            help="A config read on top of train.yaml: smoke, deterministic, amp, early_stopping, mlflow, or a file. "
            "May be repeated.",
        ),
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(
            metavar="all|N,N,...",
            help="Train a network for each of these folds of the dataset, in output_dir/foldN.",
        ),
    ] = None,
) -> None:
    """Train a bundle, or go on where its training stopped (checkpoints lie in the config's output_dir)."""
    root = Path(roots.bundle(bundle))
    config = root / "configs" / "train.yaml"
    if not config.is_file():
        raise InputError(f"{config} is missing: this bundle cannot be trained")
    if not data.is_dir() or not any(data.iterdir()):
        raise InputError(f"--data {data} is missing or empty: give a dataset folder, as `evoseg prepare` writes it")
    overlays = [roots.overlay(name) for name in overlay or []]
    for file in overlays:
        refuse_strange_keys(config, file)
    overrides = parse_settings(settings or [], known=[key for file in (config, *overlays) for key in keys(file)])
    if twice := overrides.keys() & {"bundle_root", "dataset_dir"}:
        raise InputError(f"--set {twice.pop()}: BUNDLE and --data say where the bundle and its dataset lie")
    overrides |= {"bundle_root": str(root), "dataset_dir": str(data.resolve())}
    if folds is None:
        run([config, *overlays], **overrides)
    else:
        run_folds([config, *overlays], chosen_folds(folds, data), overrides)


def chosen_folds(folds: str, data: Path) -> list[int]:
    """The numbers of "all" or "0,2" among the folds that a dataset stores; InputError for others."""
    from pipeline.data.datalist import cases

    stored = sorted({case["fold"] for case in cases(data, "all")})
    if len(stored) < 2:
        raise InputError(f"--folds: {data} stores one fold only: prepare it with `evoseg prepare ... --folds N`")
    if folds == "all":
        return stored
    chosen = folds.split(",")
    if strange := [number for number in chosen if number.strip() not in map(str, stored)]:
        raise InputError(f"--folds {folds}: {strange[0]} is not among the folds of {data}: {stored}; or say all")
    return [int(number) for number in chosen]


def run_folds(configs: Sequence[Path], folds: Sequence[int], overrides: dict[str, Any]) -> None:
    """A run for each fold, its best weights copied to output_dir/models/model_FOLD.pt: the models of an ensemble."""
    if "fold" in overrides:
        raise InputError(f"--set fold={overrides['fold']}: --folds says which folds are trained")
    settings = {key: value for file in configs for key, value in load(file).items()} | overrides
    output = Path(settings["output_dir"])
    for fold in folds:
        folder = output / f"fold{fold}"
        run(configs, **overrides | {"fold": fold, "output_dir": str(folder)})
        if (folder / "model.pt").is_file():  # there is none where no validation gave a score
            (output / "models").mkdir(exist_ok=True)
            shutil.copyfile(folder / "model.pt", output / "models" / f"model_{fold}.pt")


def refuse_strange_keys(config: Path, overlay: Path) -> None:
    """InputError for a key of an overlay that changes nothing: MONAI takes it in silence.

    A key is known if it is the config's, an argument of a part of the config (which checks its arguments itself), or
    a part that is new and that the overlay refers to by @.
    """
    given, known = load(overlay), keys(config)
    parts = {*known, *keys(overlay)}
    for key in map(without_plus, given):
        referred = any(isinstance(value, str) and f"@{key}" in value for _, value in entries(given))
        if not (key in known or key.rpartition(SEPARATOR)[0] in parts or referred):
            raise InputError(f"{overlay}: {key} is no key of {config.parents[1].name}'s train.yaml; {near(key, known)}")


def parse_settings(settings: list[str], known: list[str]) -> dict[str, Any]:
    """KEY=VALUE strings as config overrides, values read as YAML; InputError for a key that the config does not have.

    MONAI itself takes an unknown key in silence, and trains with the old value.
    """
    overrides = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.replace("#", SEPARATOR)
        if not equals:
            raise InputError(f"--set {setting} is not KEY=VALUE")
        if key not in known:
            raise InputError(f"--set {key}: train.yaml has no such key; {near(key, known)}")
        try:
            overrides[key] = parse_value(text)
        except yaml.YAMLError as error:
            raise InputError(f"--set {setting}: the value is not YAML, close its brackets and quotes") from error
    return overrides


def parse_value(text: str) -> Any:
    """A value as YAML reads it, and 1e-4 as the number that it is (to YAML 1.1 it is a word)."""
    value = yaml.safe_load(text)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def run(configs: Sequence[Path], **overrides: Any) -> None:
    """MONAI's workflow with a bar over the trainer's iterations; a component's InputError comes out as itself."""
    from monai.bundle import ConfigWorkflow

    workflow = ConfigWorkflow([str(file) for file in configs], workflow_type="train", **overrides)
    try:
        workflow.initialize()
        with progress_bar(workflow.trainer):
            workflow.run()
        workflow.finalize()
    except (RuntimeError, ValueError) as error:
        cause = root_cause(error)
        if isinstance(cause, InputError):
            raise cause from None
        raise


@contextmanager
def progress_bar(trainer: Any) -> Iterator[None]:
    """A bar on stderr that follows an ignite engine, from the iteration where it starts or resumes."""
    from ignite.engine import Events
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("epoch 0", total=None)

        def advance(engine: Any) -> None:
            state = engine.state
            total = state.max_epochs * state.epoch_length
            bar.update(
                task, description=f"epoch {state.epoch}/{state.max_epochs}", completed=state.iteration, total=total
            )

        trainer.add_event_handler(Events.ITERATION_COMPLETED, advance)
        yield
