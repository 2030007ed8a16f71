"""Randomness that depends on (seed, epoch) only, so that a resumed run continues as if it had never stopped."""

from __future__ import annotations

from typing import Protocol

import torch
from ignite.engine import Engine, Events


class EpochDataset(Protocol):
    def set_epoch(self, epoch: int) -> None: ...


class EpochSeed:
    """Before each epoch: seeds torch (order of the samples, dropout) and the dataset with (seed, epoch).

    There is then no random state to save in a checkpoint, and an epoch can be repeated on its own.
    """

    def __init__(self, dataset: EpochDataset, *, seed: int = 0) -> None:
        self.dataset = dataset
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        torch.manual_seed(self.seed * 1_000_003 + engine.state.epoch)
        self.dataset.set_epoch(engine.state.epoch)
