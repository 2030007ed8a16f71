"""The learning rate of our training runs: a ramp-up, then a cosine."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from pipeline.errors import InputError


def ramp_up_then_cosine(
    optimizer: Optimizer,
    *,
    max_lr: float,
    epochs: int,
    steps_per_epoch: int,
    ramp_epochs: float = 2,
    final_div_factor: float = 4.0,
) -> OneCycleLR:
    """One step an iteration: from max_lr / 25 up to max_lr in `ramp_epochs`, or half of a shorter run, then down to
    max_lr / 25 / final_div_factor at the end.

    It is torch's OneCycleLR, which divides by zero where its ramp-up is exactly one step: a ramp is longer here.
    InputError: an epoch without a step, or no epoch.
    """
    if steps_per_epoch < 1 or epochs < 1:
        raise InputError(
            f"{epochs} epochs of {steps_per_epoch} steps train nothing; where an epoch has no step there are fewer "
            "samples to train on than batch_size, and an incomplete batch is left out: lower batch_size or add data"
        )
    steps = max(epochs * steps_per_epoch, 2)
    ramp = max(min(ramp_epochs * steps_per_epoch, steps / 2), 1.5)
    return OneCycleLR(
        optimizer,
        max_lr,
        total_steps=steps,
        pct_start=ramp / steps,
        cycle_momentum=False,
        final_div_factor=final_div_factor,
    )
