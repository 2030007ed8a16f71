"""A cell trained: it goes on after an interruption, is never trained twice, and notices settings that have changed.

A cell's folder holds settings.json (what it is trained with), checkpoint.pt while it is trained, curve.json (an entry
an epoch), model.pt, and result.json when it is done: what was trained and its cost; scoring.py adds the scores.
"""

from __future__ import annotations

import hashlib
import logging
import math
import subprocess
import time
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.handlers import from_engine

from paper_tables.description import Cell, plain
from pipeline.errors import InputError
from pipeline.io.json_file import read_json, write_json
from pipeline.io.versions import versions
from pipeline.networks.cost import cost

logger = logging.getLogger(__name__)
PLACES = {"dataset_dir", "output_dir", "device", "resume"}  # where a cell lies and runs: no result depends on them


class Curve:
    """Attach to a trainer and the evaluator of its stopping pictures: an entry an epoch, in a file.

    epoch; loss: mean over the steps since the last entry; dice, and whatever else the evaluator measures: of the
    stopping pictures (null where one is not finite); cpu_seconds: since the last entry, validation included. What an
    interrupted run noted after its checkpoint is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.losses, self.since = path, list[float](), time.process_time()
        self.epochs: list[dict[str, Any]] = read_json(path)["epochs"] if path.is_file() else []

    def attach(self, trainer: Engine, evaluator: Engine) -> None:
        loss = from_engine(["loss"], first=True)
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: self.losses.append(float(loss(engine.state.output)))
        )
        evaluator.add_event_handler(Events.COMPLETED, self.note, trainer)

    def note(self, evaluator: Engine, trainer: Engine) -> None:
        now, epoch = time.process_time(), trainer.state.epoch
        entry = {
            "epoch": epoch,
            "loss": _finite(sum(self.losses) / len(self.losses)),
            **{name: _finite(float(value)) for name, value in evaluator.state.metrics.items()},
            "cpu_seconds": round(now - self.since, 3),
        }
        self.losses, self.since = [], now
        self.epochs = [*(earlier for earlier in self.epochs if earlier["epoch"] < epoch), entry]
        write_json(self.path, {"epochs": self.epochs})
        logger.info(", ".join(f"{name} {value}" for name, value in entry.items()))


def result(cell: Cell) -> dict[str, Any] | None:
    """What is stored of a cell, None if it is not finished. InputError: it was trained with other settings."""
    _check_settings(cell)
    path = cell.folder / "result.json"
    return read_json(path) if path.is_file() else None


def train(cell: Cell) -> dict[str, Any]:
    """The result of a cell, trained if it is not stored, from its checkpoint if there is one.

    InputError: the cell was begun with other settings.
    """
    stored = result(cell)
    if stored is not None:
        return stored
    logger.info("training %s", cell.name)
    write_json(cell.folder / "settings.json", settings(cell))
    parser = cell.parser()
    parser.get_parsed_content("initialize")
    trainer = parser.get_parsed_content("train::trainer")
    curve = Curve(cell.folder / "curve.json")
    curve.attach(trainer, parser.get_parsed_content("validate::evaluator"))
    trainer.run()
    facts = _facts(cell, parser, curve)
    write_json(cell.folder / "result.json", facts)
    (cell.folder / "checkpoint.pt").unlink()
    return facts


def settings(cell: Cell) -> dict[str, Any]:
    """All that a cell's result depends on but the code: its config, and the dataset's description by its sha256."""
    described = Path(cell.config["dataset_dir"]) / "dataset.json"
    kept = {key: value for key, value in plain(cell.config).items() if key not in PLACES}
    return kept | {"dataset": hashlib.sha256(described.read_bytes()).hexdigest()}


def commit() -> str:
    """Which code runs, "-dirty" where it is changed; "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.stdout.strip() or "unknown"


def _facts(cell: Cell, parser: ConfigParser, curve: Curve) -> dict[str, Any]:
    described = read_json(Path(cell.config["dataset_dir"]) / "dataset.json")
    data = {part: parser.get_parsed_content(f"{part}::dataset") for part in ("train", "validate")}
    spent = cost(parser.get_parsed_content("network"), data["train"][0]["image"].shape)
    checkpoint = torch.load(cell.folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    return {
        "cell": cell.name,
        "seed": cell.seed,
        "epochs": checkpoint["epoch"],
        "best_epoch": checkpoint["best_epoch"],
        "split": {
            "text": described.get("split", f"{described.get('folds')} folds by patient"),
            "train": len(data["train"]),
            "stop": len(data["validate"]),
        },
        "cost": plain(vars(spent)) | {"cpu_seconds": sum(entry["cpu_seconds"] for entry in curve.epochs)},
        "commit": commit(),
        "device": str(parser.get_parsed_content("device")),
        "versions": versions("torch", "monai"),
        "conditions": {},
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _check_settings(cell: Cell) -> None:
    path = cell.folder / "settings.json"
    if not path.is_file():
        return
    stored, now = read_json(path), settings(cell)
    changed = sorted(key for key in stored.keys() | now.keys() if stored.get(key) != now.get(key))
    if changed:
        raise InputError(
            f"{cell.folder} was trained with other settings ({', '.join(changed)}): choose another --runs, or remove "
            "the folder to train the cell anew"
        )
