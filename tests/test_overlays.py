"""configs/*.yaml on top of every bundle's train.yaml: nothing of them is lost, and each does what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow
from monai.utils import set_determinism

from pipeline.cli.train import refuse_strange_keys
from pipeline.data.roots import overlay
from pipeline.inference.verify_workflows import made_up_dataset

ROOT = Path(__file__).resolve().parents[1]
OVERLAYS = sorted(ROOT.glob("configs/*.yaml"))
BUNDLES = sorted(path.parents[1] for path in ROOT.glob("bundles/*/configs/train.yaml"))
KIDNEYS = {"network_def::features": [16] * 6, "batch_size": 12}
CELLS = {"filters": [4] * 5, "batch_size": 2}
every_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)


class Killed(Exception):
    """Stands for a killed process."""


@pytest.fixture(autouse=True)
def own_randomness() -> Iterator[None]:
    """The overlays' switches are torch's own, and hold for the whole process."""
    yield
    set_determinism(None, use_deterministic_algorithms=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A made-up dataset for KIDNEYS."""
    (tmp_path / "data").mkdir()
    made_up_dataset(ROOT / "bundles" / "kidney_ct_regression_segmentation", tmp_path / "data")
    return tmp_path / "data"


def workflow(bundle: Path, data: Path, output: Path, *overlays: str, **settings: Any) -> ConfigWorkflow:
    settings |= {"dataset_dir": str(data), "output_dir": str(output), "device": "$torch.device('cpu')"}
    files = [str(bundle / "configs" / "train.yaml"), *(str(overlay(name)) for name in overlays)]
    made = ConfigWorkflow(files, workflow_type="train", logging_file=False, **settings)
    made.initialize()
    return made


def train(data: Path, output: Path, *overlays: str, **settings: Any) -> Engine:
    made = workflow(ROOT / "bundles" / "kidney_ct_regression_segmentation", data, output, *overlays, **settings)
    made.run()
    return made.trainer


def kept(output: Path, file: str = "checkpoint.pt") -> dict[str, Any]:
    return torch.load(output / file, weights_only=True)


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@every_bundle
@pytest.mark.parametrize("file", OVERLAYS, ids=lambda file: file.stem)
def test_an_overlay_has_no_key_that_a_bundle_would_not_see(bundle: Path, file: Path) -> None:
    refuse_strange_keys(bundle / "configs" / "train.yaml", file)


@every_bundle
def test_every_bundle_is_built_with_all_overlays_at_once(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    made_up_dataset(bundle, tmp_path)
    small: dict[str, Any] = {"batch_size": 1, "pretrained": False}
    built = workflow(bundle, tmp_path, tmp_path / "out", *(file.stem for file in OVERLAYS), **small)
    assert built.trainer.amp and torch.are_deterministic_algorithms_enabled()
    assert built.check_properties() == []


@pytest.mark.parametrize(
    ("name", "overlays", "small"),
    [
        ("kidney_ct_regression_segmentation", ["deterministic"], KIDNEYS),
        ("inverse_evolution_wbc_segmentation", [], CELLS),  # in bfloat16, on labels with noise
    ],
)
def test_a_run_that_was_killed_and_one_that_was_not_end_bitwise_equal(
    name: str, overlays: list[str], small: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    made_up_dataset(ROOT / "bundles" / name, tmp_path / "data")
    road = ROOT / "bundles" / name, tmp_path / "data"
    short = small | {"max_epochs": 3, "val_interval": 1}
    workflow(*road, tmp_path / "whole", *overlays, **short).run()
    first = workflow(*road, tmp_path / "parts", *overlays, **short)

    @first.trainer.on(Events.EPOCH_STARTED(once=3))
    def kill() -> None:
        raise Killed

    with pytest.raises(Killed):
        first.trainer.run()
    torch.manual_seed(99)  # whatever a process begins with
    workflow(*road, tmp_path / "parts", *overlays, **short).run()
    for file in ("checkpoint.pt", "model.pt"):
        assert same(kept(tmp_path / "parts", file), kept(tmp_path / "whole", file))


def test_monais_mixed_precision_trains(data: Path, tmp_path: Path) -> None:
    trainer = train(data, tmp_path / "out", "amp", **KIDNEYS, max_epochs=1, val_interval=1)
    assert trainer.amp and not hasattr(trainer.inferer, "enabled")
    assert all(bool(weight.isfinite().all()) for weight in kept(tmp_path / "out")["network"].values())


def test_early_stopping_ends_a_run_that_gets_no_better(data: Path, tmp_path: Path) -> None:
    still = {"optimizer::lr": 0.0, "learning_rate": 0.0, "max_epochs": 6, "val_interval": 1}
    train(data, tmp_path / "out", "early_stopping", **KIDNEYS, **still)
    assert kept(tmp_path / "out")["epoch"] == kept(tmp_path / "out")["best_epoch"] + 2


def test_a_smoke_run_of_one_step_an_epoch_writes_losses_and_scores_for_tensorboard(data: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = train(data, tmp_path / "out", "smoke", **KIDNEYS | {"batch_size": 40})
    assert (trainer.state.epoch, trainer.state.epoch_length) == (2, 1)
    steps = {}
    for file in (tmp_path / "out" / "tensorboard").iterdir():
        events = EventAccumulator(str(file)).Reload()
        steps |= {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert steps == {"loss": [1, 2], "iou": [1, 2]}


def test_mlflow_records_losses_scores_and_settings_in_a_database(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    train(data, tmp_path / "out", "mlflow", **KIDNEYS, max_epochs=1, val_interval=1, fold=0)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'out' / 'mlruns.db'}")
    experiment = client.get_experiment_by_name("kidney_ct_regression_segmentation")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["fold"] == "0"
    assert {"loss", "iou"} <= run.data.metrics.keys()
