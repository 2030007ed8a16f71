r"""What the kidney table tries beyond the paper; nothing of it is in the product yet.

NeighbouringSlices  2.5-D: a slice with the one below and the one above it, as three channels.
GeometricEvolution  a classical term in the right side, the geodesic active contour (Caselles et al. 1997), its two
                    weights learned:  f_phi = U-Net + a g kappa |grad phi| + b <grad g, grad phi>,
                    kappa = div(grad phi / |grad phi|),   g = 1 / (1 + (|grad I| / 0.1)^2)                          (1)
PenalisedEvolution  the loss also has `weight` times the mean of f^2 over the state and all evaluations, so that
                    f moves nothing that it need not and an adaptive solver is to ask less often.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.data.slices import SliceDataset
from pipeline.networks.contour_evolution import STATE_FOLD, ContourEvolution
from pipeline.networks.node_unet import NodeUNet
from pipeline.ode.solvers import Counts

EDGE = 0.1  # of the image's -1..1, a pixel: 20 HU
MOST = 0.5  # of a and b: steps of half the time stay far from instability, as differences taken twice are 1 at most


class NeighbouringSlices(SliceDataset):
    """Samples with an image (3, X, Y): below, the slice, above; at the ends the slice stands in for what is missing."""

    def _transform(self, index: int) -> Any:
        volume, k = self._slices[index]
        slices = self._images[volume]
        taken = np.clip([k - 1, k, k + 1], 0, len(slices) - 1)
        sample = {
            "image": np.ascontiguousarray(slices[taken], dtype=np.float32),
            "distance": np.ascontiguousarray(self._distances[volume][k], dtype=np.float32)[None],
        }
        return sample if self.transform is None else self.transform(sample)


class GeometricEvolution(ContourEvolution):
    """Contour evolution by (1), two-dimensional."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.flow = _GeometricFlow(self.flow, self.band)

    def _start(self, image: Tensor, initial: Tensor) -> Tensor:
        down, across = gradient(F.avg_pool2d(image.float(), 3, 1, 1, count_include_pad=False))
        self.flow.stop = 1 / (1 + (down.square() + across.square()) / EDGE**2)
        return super()._start(image, initial)


class _GeometricFlow(NodeUNet):
    def __init__(self, flow: NodeUNet, band: float) -> None:
        nn.Module.__init__(self)
        self.unet, self.solver, self.band = flow.unet, flow.solver, band
        self.raw = nn.Parameter(torch.full((2,), -2.0))
        self.stop: Tensor | None = None  # g of the images at hand

    def field(self, t: float, y: Tensor) -> Tensor:
        learned, contour = super().field(t, y), STATE_FOLD**2
        phi = self.band * pixelshuffle(y[:, :contour].float(), 2, STATE_FOLD)
        curvature, advection = MOST * torch.sigmoid(self.raw)
        term = geodesic(phi, self.stop, curvature, advection) / self.band
        return torch.cat([learned[:, :contour] + pixelunshuffle(term, 2, STATE_FOLD), learned[:, contour:]], dim=1)


def geodesic(phi: Tensor, stop: Tensor, curvature: Tensor, advection: Tensor) -> Tensor:
    """a g kappa |grad phi| + b <grad g, grad phi> of maps (B, 1, H, W), by central differences."""
    (down, across), (stop_down, stop_across) = gradient(phi), gradient(stop)
    (down_down, mixed), (_, across_across) = gradient(down), gradient(across)
    bent = down_down * across.square() - 2 * down * across * mixed + across_across * down.square()
    bent = bent / (down.square() + across.square() + 1e-3)
    return curvature * stop * bent + advection * (stop_down * down + stop_across * across)


def gradient(field: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences along H and W of (B, 1, H, W), the border repeated."""
    wide = F.pad(field, (1, 1, 1, 1), mode="replicate")
    return (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2, (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2


class PenalisedEvolution(ContourEvolution):
    """Contour evolution whose training pays for f; as a network it is what ContourEvolution is."""

    def __init__(self, *, weight: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.flow = _PenalisedFlow(self.flow, weight)


class _PenalisedFlow(NodeUNet):
    def __init__(self, flow: NodeUNet, weight: float) -> None:
        nn.Module.__init__(self)
        self.unet, self.solver, self.weight = flow.unet, flow.solver, weight
        self._squares: list[Tensor] = []

    def field(self, t: float, y: Tensor) -> Tensor:
        found = super().field(t, y)
        self._squares.append(found.float().square().mean())
        return found

    def forward(self, y: Tensor, counts: Counts | None = None) -> Tensor:
        self._squares = []
        moved = super().forward(y, counts)
        return _WithPenalty.apply(moved, self.weight * torch.stack(self._squares).mean())


class _WithPenalty(torch.autograd.Function):
    """Hands `state` on; in the backward pass the loss has `penalty` as one more term."""

    @staticmethod
    def forward(context: Any, state: Tensor, penalty: Tensor) -> Tensor:
        return state.view_as(state)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        return gradients[0], torch.ones((), device=gradients[0].device)
