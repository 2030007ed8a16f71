"""Differential equations with known solutions, and a small network that stands for the learned ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

FIXED = ("euler", "midpoint", "rk4", "ab2", "abm2")
METHODS = (*FIXED, "dopri5")


@dataclass(frozen=True)
class Problem:
    """y' = func(t, y), y(0) = start; exact(t) is the solution. All float64."""

    name: str
    func: Callable[[float, Tensor], Tensor]
    start: Tensor
    exact: Callable[[float], Tensor]


def _double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def linear() -> Problem:
    matrix = torch.tensor([[-0.5, 2.0, 0.3], [-1.5, 0.2, 0.0], [0.4, -0.7, -1.0]], dtype=torch.float64)
    start = _double(1.0, -2.0, 0.5)
    return Problem("linear", lambda t, y: matrix @ y, start, lambda t: torch.linalg.matrix_exp(t * matrix) @ start)


def oscillator(frequency: float = 3.0) -> Problem:
    """x'' = -w^2 x from rest at x = 2."""
    w = frequency
    return Problem(
        "oscillator",
        lambda t, y: torch.stack([y[1], -(w**2) * y[0]]),
        _double(2.0, 0.0),
        lambda t: _double(2 * math.cos(w * t), -2 * w * math.sin(w * t)),
    )


def rotation() -> Problem:
    """Turning ever faster: the angle is t + t^2, so that a wrong time shows."""
    return Problem(
        "rotation",
        lambda t, y: (1 + 2 * t) * torch.stack([-y[1], y[0]]),
        _double(3.0, 0.0),
        lambda t: _double(3 * math.cos(t + t**2), 3 * math.sin(t + t**2)),
    )


def logistic(rate: float = 4.0) -> Problem:
    """y' = r y (1 - y) from 1/10: y = 1 / (1 + 9 exp(-r t))."""
    return Problem(
        "logistic", lambda t, y: rate * y * (1 - y), _double(0.1), lambda t: _double(1 / (1 + 9 * math.exp(-rate * t)))
    )


PROBLEMS = (linear(), oscillator(), rotation(), logistic())


class SmallNet(nn.Module):
    """A smooth f(t, y) on states (B, channels, H, W) that depends on t."""

    def __init__(self, channels: int = 3, width: int = 8, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(channels + 1, width, 3, padding=1),
                nn.GroupNorm(4, width),
                nn.Softplus(),
                nn.Conv2d(width, channels, 3, padding=1),
            )

    def forward(self, t: float, y: Tensor) -> Tensor:
        return self.layers(torch.cat([y, torch.full_like(y[:, :1], t)], dim=1))


def small_state(channels: int = 3, size: int = 6, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(2, channels, size, size, dtype=dtype, generator=torch.Generator().manual_seed(1))
