"""Checkpoints of a training run: where to continue, and the best weights as they ship."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor, distributed, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pipeline.errors import InputError
from pipeline.io.whole_file import whole_file

logger = logging.getLogger(__name__)


def half_precision(network: nn.Module) -> dict[str, Tensor]:
    """The state dict with floating-point tensors in float16 on the CPU; `load_state_dict` casts them back by itself."""
    state = network.state_dict()
    return {
        name: t.detach().to("cpu", torch.float16) if t.is_floating_point() else t.cpu() for name, t in state.items()
    }


def save(state: dict[str, Any], path: Path) -> None:
    """Write tensors and plain numbers so that `path` is the old file or the whole new one. CaseError: WRITE_FAILED."""
    with whole_file(path) as part:
        torch.save(state, part)


def _first_process() -> bool:
    return not distributed.is_initialized() or distributed.get_rank() == 0


class Checkpoints:
    """Attach to a trainer, after its ValidationHandler. Two files appear in `output_dir`:

    checkpoint.pt: network, optimizer, schedule, epoch and best score after the last whole epoch. A run continues from
        it (unless `resume` is False), exactly, as all randomness depends on the epoch (handlers/epoch_seed.py).
    model.pt: the weights, in float16, of the epoch with the highest key metric of `evaluator`.
    patience: a validation so many epochs after the best one ends the run, if it is no better itself; None: none does.
        It goes by what checkpoint.pt holds, so a run that was stopped ends where it would have, while MONAI's
        EarlyStopHandler begins to count anew. A run that ended so goes on where `patience` is None or larger.
    Of several processes (torchrun) all continue from the checkpoint, and the first alone writes.
    InputError: an epoch left weights that are no numbers, as one NaN in one sample does for good; both files stay.
    """

    def __init__(
        self,
        output_dir: str | Path,
        *,
        network: nn.Module,
        optimizer: Optimizer,
        lr_scheduler: LRScheduler,
        evaluator: Engine,
        resume: bool = True,
        patience: int | None = None,
    ) -> None:
        if patience is not None and patience < 1:
            raise InputError(f"patience is {patience}, it must be 1 epoch or more; null never ends a run early")
        self.checkpoint = Path(output_dir) / "checkpoint.pt"
        self.best_weights = Path(output_dir) / "model.pt"
        self.parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "lr_scheduler": lr_scheduler}
        self.network, self.evaluator, self.resume, self.patience = network, evaluator, resume, patience
        self.best_score, self.best_epoch = float("-inf"), 0
        self.waited = 0  # epochs from the best one to the last validation

    def attach(self, trainer: Engine) -> None:
        trainer.add_event_handler(Events.STARTED, self.load)
        self.evaluator.add_event_handler(Events.COMPLETED, self.judge, trainer)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self.refuse_nan)
        if _first_process():
            trainer.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def load(self, trainer: Engine) -> None:
        if not self.checkpoint.is_file():
            return
        if not self.resume:
            raise InputError(f"{self.checkpoint} is there and resume is false: choose another output_dir or remove it")
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if state["max_epochs"] != trainer.state.max_epochs or state["epoch_length"] != trainer.state.epoch_length:
            raise InputError(
                f"{self.checkpoint} is of a run of {state['max_epochs']} epochs of {state['epoch_length']} iterations, "
                f"this one has {trainer.state.max_epochs} of {trainer.state.epoch_length}: repeat its arguments or "
                "choose another output_dir"
            )
        for name, part in self._parts(trainer).items():
            if state.get(name):  # a scaler is of MONAI's amp alone, and empty where there is no GPU
                part.load_state_dict(state[name])
        trainer.state.epoch, trainer.state.iteration = state["epoch"], state["epoch"] * state["epoch_length"]
        self.best_score, self.best_epoch, self.waited = state["best_score"], state["best_epoch"], state.get("waited", 0)
        self._end_if_waited_long(trainer)
        logger.info("continuing %s after epoch %d of %d", self.checkpoint, state["epoch"], state["max_epochs"])

    def refuse_nan(self, trainer: Engine) -> None:
        broken = [name for name, weight in self.network.named_parameters() if not torch.isfinite(weight).all()]
        if broken:
            raise InputError(
                f"after epoch {trainer.state.epoch} weights are NaN or infinite ({broken[0]}); {self.checkpoint} is "
                "left as it was. Look for a transform or a case that gives NaN, or train with a smaller learning_rate "
                "into another output_dir"
            )

    def save(self, trainer: Engine) -> None:
        counters = {
            "epoch": trainer.state.epoch,
            "max_epochs": trainer.state.max_epochs,
            "epoch_length": trainer.state.epoch_length,
        }
        best = {"best_score": self.best_score, "best_epoch": self.best_epoch, "waited": self.waited}
        parts = {name: part.state_dict() for name, part in self._parts(trainer).items()}
        save(parts | counters | best, self.checkpoint)

    def _parts(self, trainer: Engine) -> dict[str, Any]:
        scaler = getattr(trainer, "scaler", None)
        return self.parts | ({"scaler": scaler} if scaler else {})

    def judge(self, evaluator: Engine, trainer: Engine) -> None:
        self.refuse_nan(trainer)  # an empty answer has a score too
        name = vars(evaluator.state)["key_metric_name"]  # MONAI's, unknown to ignite's State
        score = float(evaluator.state.metrics[name])
        if score > self.best_score:  # False for nan: a stopping part without the object keeps nothing
            self.best_score, self.best_epoch = score, trainer.state.epoch
            if _first_process():
                save(half_precision(self.network), self.best_weights)
            logger.info("epoch %d is the best so far: %.4f", trainer.state.epoch, score)
        self.waited = trainer.state.epoch - self.best_epoch
        self._end_if_waited_long(trainer)

    def _end_if_waited_long(self, trainer: Engine) -> None:
        if self.patience is not None and self.waited >= self.patience:
            logger.info("no better score for %d epochs: training ends", self.waited)
            trainer.terminate()
