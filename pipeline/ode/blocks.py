r"""Blocks of a network that are differential equations, solved from t = 0 to 1; the shape of the state stays.

    first order    z' = f(z, t)                                                                            (1)
    second order   z = (x, v),   x' = v,   v' = f(x, v, t)                                                 (2)
    augmented      z = (x, v),   z' = softplus(f(z))                                                       (3)
    f = conv(norm(act(conv(norm(z)) + t w)))                                                               (4)

(2) is x'' = f(x, x', t) written as a first-order system: x, the position, moves only by its velocity v. Two positions
may meet and part again, which no flow (1) allows, so that even x -> -x can be learned. (3) is what the paper's authors
published as their block: all channels of f are taken for z', so it is (1) on a wider state and not (2), and a softplus
at its end lets every channel do nothing but grow. It is here to be compared with.

f in (4) is smooth (SiLU) and ends in a convolution, so that a derivative can have either sign. Each sample and channel
is normalised by itself, without running statistics, which would depend on how often the solver asks; no learned scale
follows, since the next convolution has one. A map of a single pixel is normalised over its channels. Time enters as a
learned shift of the hidden channels: a channel filled with t, but for the image's border, at a ninth of its price.

One step of rk4 is four stages of a residual network rather than a solved equation: raise `solver.steps` for that.

Reference: Cheng et al., Continuous U-Net (2024), equations 1 to 5; (4) follows the authors' published block in its
norms and kernels. Not from the paper: w, the SiLU.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import InputError
from pipeline.ode.solve import Solver, integrate, trajectory
from pipeline.ode.solvers import Counts

CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
RK4 = Solver(method="rk4", steps=1)


def convolution(inputs: int, outputs: int, *, spatial_dims: int, kernel: int = 3, groups: int = 1) -> nn.Module:
    """A convolution that keeps the size, kernel odd. InputError: spatial_dims is not 2 or 3."""
    if spatial_dims not in CONVOLUTIONS:
        raise InputError(f"spatial_dims is {spatial_dims!r}, it must be 2 (images) or 3 (volumes)")
    return CONVOLUTIONS[spatial_dims](inputs, outputs, kernel, padding=kernel // 2, groups=groups)


class SampleNorm(nn.Module):
    """Each channel of each sample to mean 0 and variance 1 over its pixels; a single pixel over its channels."""

    def forward(self, y: Tensor) -> Tensor:
        # In a trace a size is no number to compare; one of a single pixel would not hold for other sizes anyway.
        alone = not torch.jit.is_tracing() and math.prod(y.shape[2:]) == 1
        return torch.group_norm(y, 1 if alone else y.shape[1])


class Derivative(nn.Module):
    """f of (4): t and (B, inputs, *spatial) -> (B, outputs, *spatial), with `outputs` hidden channels."""

    def __init__(self, inputs: int, outputs: int, *, spatial_dims: int) -> None:
        super().__init__()
        self.norm = SampleNorm()
        self.first = convolution(inputs, outputs, spatial_dims=spatial_dims)
        self.last = convolution(outputs, outputs, spatial_dims=spatial_dims)
        self.time = nn.Parameter(torch.zeros(outputs, *[1] * spatial_dims))

    def forward(self, t: float, z: Tensor) -> Tensor:
        hidden = F.silu(self.first(self.norm(z)) + t * self.time)
        return self.last(self.norm(hidden))


class SecondOrderField(nn.Module):
    """The right side of (2): z = (x, v) -> (v, acceleration(t, z))."""

    def __init__(self, acceleration: nn.Module) -> None:
        super().__init__()
        self.acceleration = acceleration

    def forward(self, t: float, z: Tensor) -> Tensor:
        v = z.chunk(2, dim=1)[1]
        return torch.cat([v, self.acceleration(t, z)], dim=1)


class AugmentedField(nn.Module):
    """The right side of (3), a 3 x 3 and a 1 x 1 convolution that keep all channels; it does not look at t."""

    def __init__(self, channels: int, *, spatial_dims: int) -> None:
        super().__init__()
        self.norm = SampleNorm()
        self.first = convolution(channels, channels, spatial_dims=spatial_dims)
        self.last = convolution(channels, channels, spatial_dims=spatial_dims, kernel=1)

    def forward(self, t: float, z: Tensor) -> Tensor:
        return F.softplus(self.last(self.norm(F.softplus(self.first(self.norm(z))))))


class ODEBlock(nn.Module):
    """z(0) -> z(1) of z' = field(t, z). `solver` may be changed after training."""

    def __init__(self, field: nn.Module, solver: Solver = RK4) -> None:
        super().__init__()
        self.field, self.solver = field, solver

    def forward(self, z: Tensor, counts: Counts | None = None) -> Tensor:
        """z(1); `counts` receives the evaluations of f. StepLimitError: dopri5 that does not arrive."""
        return integrate(self.field, z, self.solver, counts=counts)

    def trajectory(self, z: Tensor) -> tuple[list[float], Tensor]:
        """The times of the solver's grid and the states at them, (times, *z.shape)."""
        return trajectory(self.field, z, self.solver)


class FirstOrderBlock(ODEBlock):
    """(1) on states (B, channels, *spatial)."""

    def __init__(self, channels: int, *, spatial_dims: int = 2, solver: Solver = RK4) -> None:
        super().__init__(Derivative(channels, channels, spatial_dims=spatial_dims), solver)


class SecondOrderBlock(ODEBlock):
    """(2) on states (B, 2 channels, *spatial): x in the first half, v in the second."""

    def __init__(self, channels: int, *, spatial_dims: int = 2, solver: Solver = RK4) -> None:
        super().__init__(SecondOrderField(Derivative(2 * channels, channels, spatial_dims=spatial_dims)), solver)


class AugmentedBlock(ODEBlock):
    """(3) on states (B, 2 channels, *spatial), the published block."""

    def __init__(self, channels: int, *, spatial_dims: int = 2, solver: Solver = RK4) -> None:
        super().__init__(AugmentedField(2 * channels, spatial_dims=spatial_dims), solver)
