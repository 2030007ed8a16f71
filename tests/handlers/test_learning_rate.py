from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from pipeline.errors import InputError
from pipeline.handlers.learning_rate import ramp_up_then_cosine


def rates(schedule: torch.optim.lr_scheduler.LRScheduler, steps: int) -> list[float]:
    """The learning rate of each iteration, and the one after the last."""
    taken = [schedule.get_last_lr()[0]]
    for _ in range(steps):
        schedule.optimizer.step()
        schedule.step()
        taken.append(schedule.get_last_lr()[0])
    return taken


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


@pytest.mark.parametrize("epochs", [1, 2, 3, 5])
@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("ramp_epochs", [0, 1, 2])
def test_a_run_of_any_length_ends_at_the_least_rate(epochs: int, steps: int, ramp_epochs: int) -> None:
    schedule = ramp_up_then_cosine(
        optimizer(), max_lr=1.0, epochs=epochs, steps_per_epoch=steps, ramp_epochs=ramp_epochs
    )
    taken = rates(schedule, epochs * steps - 1)
    assert all(0 < rate <= 1.0 for rate in taken)
    if epochs * steps > 1:
        assert taken[-1] == pytest.approx(1 / 25 / 4)


def test_torchs_own_schedule_divides_by_zero_where_the_ramp_is_a_step() -> None:
    with pytest.raises(ZeroDivisionError):
        OneCycleLR(optimizer(), 1.0, total_steps=8, pct_start=1 / 8)


@pytest.mark.parametrize("epochs", [2, 4, 9])
def test_longer_runs_are_torchs_with_the_ramp_in_epochs(epochs: int) -> None:
    ours = ramp_up_then_cosine(optimizer(), max_lr=0.5, epochs=epochs, steps_per_epoch=6, final_div_factor=8.0)
    torchs = OneCycleLR(
        optimizer(),
        0.5,
        total_steps=epochs * 6,
        pct_start=2 / max(epochs, 4),
        cycle_momentum=False,
        final_div_factor=8.0,
    )
    assert rates(ours, epochs * 6) == rates(torchs, epochs * 6)


def test_an_epoch_without_a_step_is_told_with_the_way_out() -> None:
    with pytest.raises(InputError, match="fewer samples to train on than batch_size"):
        ramp_up_then_cosine(optimizer(), max_lr=1.0, epochs=2, steps_per_epoch=0)
