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


class Checkpoints:
    """Attach to a trainer, after its ValidationHandler. Two files appear in `output_dir`:

    checkpoint.pt: network, optimizer, schedule, epoch and best score after the last whole epoch. A run continues from
        it (unless `resume` is False), exactly, as all randomness depends on the epoch (handlers/epoch_seed.py).
    model.pt: the weights, in float16, of the epoch with the highest key metric of `evaluator`.
    Of several processes (torchrun) all continue from the checkpoint, and the first alone writes.
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
    ) -> None:
        self.checkpoint = Path(output_dir) / "checkpoint.pt"
        self.best_weights = Path(output_dir) / "model.pt"
        self.parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "lr_scheduler": lr_scheduler}
        self.network, self.evaluator, self.resume = network, evaluator, resume
        self.best_score, self.best_epoch = float("-inf"), 0

    def attach(self, trainer: Engine) -> None:
        trainer.add_event_handler(Events.STARTED, self.load)
        if distributed.is_initialized() and distributed.get_rank() > 0:
            return
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        self.evaluator.add_event_handler(Events.COMPLETED, self.keep_best, trainer)

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
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        trainer.state.epoch, trainer.state.iteration = state["epoch"], state["epoch"] * state["epoch_length"]
        self.best_score, self.best_epoch = state["best_score"], state["best_epoch"]
        logger.info("continuing %s after epoch %d of %d", self.checkpoint, state["epoch"], state["max_epochs"])

    def save(self, trainer: Engine) -> None:
        counters = {
            "epoch": trainer.state.epoch,
            "max_epochs": trainer.state.max_epochs,
            "epoch_length": trainer.state.epoch_length,
        }
        best = {"best_score": self.best_score, "best_epoch": self.best_epoch}
        save({name: part.state_dict() for name, part in self.parts.items()} | counters | best, self.checkpoint)

    def keep_best(self, evaluator: Engine, trainer: Engine) -> None:
        name = vars(evaluator.state)["key_metric_name"]  # MONAI's, unknown to ignite's State
        score = float(evaluator.state.metrics[name])
        if score > self.best_score:  # False for nan: a stopping part without the object keeps nothing
            self.best_score, self.best_epoch = score, trainer.state.epoch
            save(half_precision(self.network), self.best_weights)
            logger.info("epoch %d is the best so far: %.4f", trainer.state.epoch, score)
