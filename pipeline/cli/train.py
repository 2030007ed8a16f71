"""`evoseg train`: a bundle's train.yaml by MONAI's own workflow, with checked settings and a progress bar."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from pipeline.data import roots
from pipeline.data.config import SEPARATOR, entries
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
) -> None:
    """Train a bundle, or go on where its training stopped (checkpoints lie in the config's output_dir)."""
    root = Path(roots.bundle(bundle))
    config = root / "configs" / "train.yaml"
    if not config.is_file():
        raise InputError(f"{config} is missing: this bundle cannot be trained")
    if not data.is_dir() or not any(data.iterdir()):
        raise InputError(f"--data {data} is missing or empty: give a dataset folder, as `evoseg prepare` writes it")
    overrides = parse_settings(settings or [], known=keys(config))
    if twice := overrides.keys() & {"bundle_root", "dataset_dir"}:
        raise InputError(f"--set {twice.pop()}: BUNDLE and --data say where the bundle and its dataset lie")
    run(config, bundle_root=str(root), dataset_dir=str(data.resolve()), **overrides)


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
            near = difflib.get_close_matches(key, known, n=3)
            hint = (
                f"near are {', '.join(near)}"
                if near
                else f"known are {', '.join(k for k in known if SEPARATOR not in k)}"
            )
            raise InputError(f"--set {key}: train.yaml has no such key; {hint}")
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


def keys(config: Path) -> list[str]:
    """Every key of a YAML config at every level."""
    return [key for key, _ in entries(yaml.safe_load(config.read_text(encoding="utf-8")))]


def run(config: Path, **overrides: Any) -> None:
    """MONAI's workflow with a bar over the trainer's iterations; a component's InputError comes out as itself."""
    from monai.bundle import ConfigWorkflow

    workflow = ConfigWorkflow(str(config), workflow_type="train", **overrides)
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
