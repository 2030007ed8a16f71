"""multi_gpu_train.yaml of every bundle: two processes train as one with twice the batch.

Equal within rounding holds where the loss is a mean over samples and no batch normalisation looks at a process's own
part: kits19_contour_evolution and inverse_evolution_wbc, and here kidney_ct_regression with such a loss. The others'
Dice over the whole batch (kidney_ct_regression, continuous_unet_*, star_shape_*) and batch normalisation (those of
pictures, dvis_nuclei) are of each process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import pytest
import torch
import yaml
from monai.bundle import ConfigWorkflow
from monai.data import DistributedSampler
from torch.nn.parallel import DistributedDataParallel

from pipeline.data.config import entries
from pipeline.inference.verify_workflows import made_up_dataset

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(path.parent for path in ROOT.glob("bundles/*/configs/train.yaml"))
PER_SAMPLE = ROOT / "bundles" / "kidney_ct_regression_segmentation"
# What tells and stores, and belongs to the first process; Checkpoints, which all processes load, knows by itself.
FIRST_ALONE = {"StatsHandler", "TensorBoardStatsHandler", "CheckpointSaver"}
ALONE = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
every_bundle = pytest.mark.parametrize("configs", CONFIGS, ids=lambda configs: configs.parent.name)


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as torchrun's only one, on the CPU."""
    for name, value in ALONE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    yield
    idist.sync()  # ignite remembers the group, which is gone: metrics of later tests would ask it


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@every_bundle
def test_the_first_process_alone_tells_and_stores(configs: Path) -> None:
    train, overlay = read(configs / "train.yaml"), read(configs / "multi_gpu_train.yaml")
    telling = {
        f"{part}::handlers::{number}::_disabled_"
        for part in ("train", "validate")
        for number, handler in enumerate(train[part]["handlers"])
        if handler["_target_"] in FIRST_ALONE
    }
    assert {key for key in overlay if key.endswith("_disabled_")} == telling


@every_bundle
def test_what_the_trainer_called_is_what_is_wrapped_and_the_shuffling_is_the_samplers(configs: Path) -> None:
    train, overlay = read(configs / "train.yaml"), read(configs / "multi_gpu_train.yaml")
    assert overlay["parallel"]["module"] == train["train"]["trainer"]["network"]
    known = {key for key, _ in entries(train)}
    assert {"train::dataloader::shuffle", "train::trainer::network", "device", "imports"} <= known
    assert ("+initialize" in overlay) == ("initialize" in train)


@every_bundle
def test_every_bundle_is_built_for_several_processes(configs: Path, tmp_path: Path, one_process: None) -> None:
    made_up_dataset(configs.parent, tmp_path)
    files = [str(configs / name) for name in ("train.yaml", "multi_gpu_train.yaml")]
    made_up = {"dataset_dir": str(tmp_path), "output_dir": str(tmp_path / "out"), "batch_size": 1, "pretrained": False}
    workflow = ConfigWorkflow(files, workflow_type="train", logging_file=False, **made_up)
    workflow.initialize()
    trainer = workflow.trainer
    assert isinstance(trainer.network, DistributedDataParallel)
    assert isinstance(trainer.data_loader.sampler, DistributedSampler)
    assert "pt_gloo_runloop" in threads()
    workflow.finalize()
    assert "pt_gloo_runloop" not in threads()  # one that lets go of a tensor after the interpreter's end aborts it


def test_two_processes_equal_one_with_twice_the_batch(tmp_path: Path, one_process: None) -> None:
    (tmp_path / "data").mkdir()
    made_up_dataset(PER_SAMPLE, tmp_path / "data")
    two = settings(tmp_path, "two", batch_size=2)
    files = str([str(path) for path in two])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    ran = subprocess.run(
        [*torchrun, "-m", "monai.bundle", "run", "--config_file", files],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},  # gloo, on the CPU
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    one = ConfigWorkflow([str(path) for path in settings(tmp_path, "one", batch_size=4)], logging_file=False)
    one.initialize()
    before = {name: weight.clone() for name, weight in one.parser.get_parsed_content("network").state_dict().items()}
    one.run()
    one.finalize()
    weights = {
        run: torch.load(tmp_path / run / "checkpoint.pt", weights_only=True)["network"] for run in ("one", "two")
    }
    torch.testing.assert_close(weights["two"], weights["one"], rtol=0, atol=1e-5)
    assert max(float((before[name] - weights["one"][name]).abs().max()) for name in before) > 1e-3
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 2  # the first process's losses and scores


def threads() -> set[str]:
    """The names of this process's threads, of libraries too."""
    names = set()
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # ended meanwhile
            names.add((thread / "comm").read_text().strip())
    return names


def settings(folder: Path, run: str, *, batch_size: int) -> list[Path]:
    """The configs of a run of an epoch on a tiny network, the last of them written here."""
    changed = {
        "dataset_dir": str(folder / "data"),
        "output_dir": str(folder / run),
        "loss": {"_target_": "pipeline.losses.narrow_band.NarrowBandLoss"},
        "device": "$torch.device('cpu')",
        "batch_size": batch_size,
        "max_epochs": 1,
        "val_interval": 1,
        "mixed_precision": False,
        "network_def::features": [16] * 6,
        "optimizer::_target_": "torch.optim.SGD",  # Adam makes a step of a gradient that is nothing but rounding
        "learning_rate": 0.1,
        "train::preprocessing::transforms": ["@intensity"],  # slices are drawn and changed in the order of one process
    }
    own = folder / f"{run}.yaml"
    own.write_text(yaml.safe_dump(changed))
    return [PER_SAMPLE / "configs" / "train.yaml", PER_SAMPLE / "configs" / "multi_gpu_train.yaml", own]
