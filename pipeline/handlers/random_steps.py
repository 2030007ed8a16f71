"""Train a neural ODE for every solver: the number of steps changes from batch to batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from ignite.engine import Engine, Events

from pipeline.ode.solve import Solver


class Solved(Protocol):
    """A module that integrates by its `solver`."""

    solver: Solver


class RandomSteps:
    """Attach to a trainer: each iteration integrates `flow` by a number of steps drawn from `steps`.

    A network that is trained with one number of steps may learn that very scheme: a finer one then gives another, worse
    answer, which is no solution of its equation. The draw depends on (seed, iteration) alone, so that a run that is
    resumed draws the same; after each epoch, before validation, the solver is as it was.
    """

    def __init__(self, flow: Solved, steps: Sequence[int], *, seed: int = 0) -> None:
        self.flow, self.steps, self.seed, self.solver = flow, tuple(steps), seed, flow.solver

    def attach(self, trainer: Engine) -> None:
        trainer.add_event_handler(Events.ITERATION_STARTED, self.draw)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self.restore)

    def draw(self, trainer: Engine) -> None:
        drawn = np.random.default_rng((self.seed, trainer.state.iteration)).choice(self.steps)
        self.flow.solver = replace(self.solver, steps=int(drawn))

    def restore(self) -> None:
        self.flow.solver = self.solver
