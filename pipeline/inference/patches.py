r"""A 3-D network on a volume: resampled to the network's voxels, tiled with overlapping patches, logits brought back.

With one matrix of io/resample.py along each axis (down: A, B, C; up: D, E, F; x along R, y along A, z along S)

    I_net = A x B x C I            logits = D x E x F logits_net                                            (1)

and a sum over z may be taken a few slices at a time: neither the scaled image nor the logits are ever made on the
volume's grid, only slabs of them, so that memory holds the labels, one byte a voxel, and maps of the network's grid.
Orientation is folded into views and matrices: no voxel is moved for it.

Tiles are blended by Gaussian weights that sum to one, and the rows of all matrices sum to one and have no negative
entry: a network that answers the same everywhere leaves no trace of tiles or of grids, and a slab whose logits_net has
no positive value has none on the volume's grid either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, sliding_window_inference
from monai.utils import convert_to_dst_type
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import CaseError
from pipeline.inference.roads import Intensity, Network, Part, placed
from pipeline.io.orientation import canonical_order
from pipeline.io.resample import resize_matrix
from pipeline.io.volume import Volume
from pipeline.numerics.banded import Banded, span

SLAB = 8  # slices of the volume that are handled at once
WIDEST = 1024  # voxels of the network's grid along one axis: 2 m at 2 mm


class VolumeGrid:
    """The two maps (1) between a volume and the network's grid.

    shape, spacing_mm: of the volume, (X, Y, S); target_mm: the network's voxel, met to a whole number of voxels.
    flips: axes along which the volume runs against the network's convention.
    CaseError BAD_GEOMETRY: more than WIDEST voxels of the network along an axis.
    """

    def __init__(
        self,
        shape: Sequence[int],
        spacing_mm: Sequence[float],
        target_mm: Sequence[float],
        *,
        flips: Sequence[bool] = (False, False, False),
        device: torch.device | str = "cpu",
    ) -> None:
        self.depth = shape[2]
        sizes = [max(1, round(n * s / t)) for n, s, t in zip(shape, spacing_mm, target_mm, strict=True)]
        if max(sizes) > WIDEST:
            raise CaseError(
                "BAD_GEOMETRY",
                f"voxels of {' x '.join(f'{s:g}' for s in spacing_mm)} mm make this scan wider than any patient: "
                "correct its spacing",
            )
        axes = list(zip(shape, sizes, flips, strict=True))
        down = [_flipped(resize_matrix(n, size), flip, 1).to(device) for n, size, flip in axes]
        up = [_flipped(resize_matrix(size, n), flip, 0).to(device) for n, size, flip in axes]
        self._down_x, self._down_y, self._down_s = Banded(down[0]), Banded(down[1]), down[2]
        self._up_x, self._up_y, self._up_s = Banded(up[0]), Banded(up[1]), up[2]

    def slabs(self) -> Iterator[range]:
        """The volume's slices, a few at a time."""
        return (range(start, min(start + SLAB, self.depth)) for start in range(0, self.depth, SLAB))

    def to_network(self, slabs: Iterable[tuple[range, Tensor]]) -> Tensor:
        """The slabs of a volume, (C, X, Y, len(slices)) each, which may come in any order -> (C, x, y, s)."""
        total = None
        for slices, slab in slabs:
            plane = self._down_y.left(self._down_x.left(slab.flatten(2)).unflatten(2, slab.shape[2:]))
            if total is None:
                total = plane.new_zeros(*plane.shape[:3], len(self._down_s))
            rows = self._down_s[:, slices.start : slices.stop]
            reach = span(rows.any(dim=1))
            total[..., reach] += plane @ rows[reach].T
        if total is None:
            raise ValueError("slabs is empty: a volume has one slice at least")
        return total

    def to_volume(self, logits: Tensor, slices: range) -> Tensor:
        """(C, x, y, s) -> (C, X, Y, len(slices))."""
        return self._up_y.right(self._up_x.left(self.along_s(logits, slices))).movedim(0, 3)

    def along_s(self, logits: Tensor, slices: range) -> Tensor:
        """The first step of `to_volume` alone: (C, x, y, s) -> (len(slices), C, x, y)."""
        rows = self._up_s[slices.start : slices.stop]
        reach = span(rows.any(dim=0))
        read = logits.flatten(0, 2)[:, reach].to(rows)  # in place, or from where they were stitched
        planes = rows[:, reach] @ read.T  # written plane by plane
        return planes.view(len(slices), *logits.shape[:3])


class VolumePatchInferer(Inferer):
    """Runs a 3-D network over overlapping patches of a volume and returns its logits on the volume's grid.

    patch: (x, y, s), the network's input in voxels; a smaller volume is surrounded with air.
    spacing_mm: the network's voxel; None takes the volume's voxels as they are (a dataset prepared on its grid).
    overlap: of neighbouring patches, as a share of the patch; air: the value of air after intensity scaling;
    batch_size: patches at once.
    """

    spatial_dims = 3  # of the image it takes

    def __init__(
        self,
        *,
        patch: Sequence[int],
        spacing_mm: Sequence[float] | None,
        overlap: float = 0.25,
        air: float = -1.0,
        batch_size: int = 1,
    ) -> None:
        super().__init__()
        self.patch, self.spacing_mm = tuple(patch), None if spacing_mm is None else tuple(spacing_mm)
        self.overlap, self.air, self.batch_size = overlap, air, batch_size
        self.stitched_on: torch.device | None = None  # where the logits of all patches are; None: where the volume is

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """(1, C, X, Y, S) in RAS+ order, intensities scaled -> (1, C_out, X, Y, S).

        A MetaTensor tells the voxels' spacing; those of a plain tensor are taken for the network's.
        ValueError: `inputs` are not one volume.
        """
        if inputs.ndim != 5 or inputs.shape[0] != 1:
            raise ValueError(f"inputs of shape {tuple(inputs.shape)} must be one volume (1, C, X, Y, S)")
        volume = inputs.as_subclass(Tensor)[0]
        grid = self.grid(volume.shape[1:], _spacing(inputs), device=volume.device)
        slabs = ((slices, volume[..., slices.start : slices.stop]) for slices in grid.slabs())
        logits = self.tiled(grid.to_network(slabs), lambda patches: network(patches, *args, **kwargs))
        whole = torch.cat([grid.to_volume(logits, slices) for slices in grid.slabs()], dim=-1)[None]
        # a MetaTensor comes back as one, with the geometry that the bundle's Invertd and SaveImaged need
        return convert_to_dst_type(whole, inputs)[0]

    def parts(
        self, image: Volume, network: Network, *, intensity: Intensity, device: torch.device, everywhere: bool
    ) -> Iterator[Part]:
        """As roads.Road says, the slices that are handled at once."""
        order, flips = canonical_order(image)
        scan = image.array.transpose(order)
        grid = self.grid(scan.shape, [image.spacing_mm[axis] for axis in order], flips=flips, device=device)

        def scaled(slices: range) -> Tensor:
            slab = torch.from_numpy(scan[None, :, :, slices.start : slices.stop].astype(np.float32)).to(device)
            return torch.as_tensor(intensity({"image": slab})["image"]).as_subclass(Tensor)

        logits = self.tiled(grid.to_network((slices, scaled(slices)) for slices in grid.slabs()), network)
        for slices in grid.slabs():
            if everywhere or len(logits) > 1 or bool((grid.along_s(logits, slices) > 0).any()):
                yield placed(grid.to_volume(logits, slices), order, slices)

    def grid(
        self,
        shape: Sequence[int],
        spacing_mm: Sequence[float] | None,
        *,
        flips: Sequence[bool] = (False, False, False),
        device: torch.device,
    ) -> VolumeGrid:
        """The maps for a volume of this shape; without a spacing on either side its voxels are the network's."""
        if self.spacing_mm is None or spacing_mm is None:
            ones = (1.0, 1.0, 1.0)
            return VolumeGrid(shape, ones, ones, flips=flips, device=device)
        return VolumeGrid(shape, spacing_mm, self.spacing_mm, flips=flips, device=device)

    def tiled(self, volume: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
        """(C, x, y, s) on the network's grid -> its logits (C_out, x, y, s)."""
        logits = sliding_window_inference(
            volume[None],
            roi_size=self.patch,
            sw_batch_size=self.batch_size,
            predictor=network,
            overlap=self.overlap,
            mode="gaussian",
            cval=self.air,
            device=self.stitched_on,
        )
        return torch.as_tensor(logits)[0]

    def smaller(self) -> VolumePatchInferer | None:
        """As roads.Road says: one patch at a time, and the logits of all of them in the CPU's memory."""
        if self.stitched_on is not None:
            return None
        small = copy(self)
        small.batch_size, small.stitched_on = 1, torch.device("cpu")
        return small


def _spacing(inputs: Tensor) -> list[float] | None:
    if not isinstance(inputs, MetaTensor):
        return None
    affine = inputs.affine.reshape(-1, 4, 4)[0]  # a batch of one volume has a batch of one affine
    return affine[:3, :3].norm(dim=0).tolist()


def _flipped(matrix: NDArray[np.float32], flip: bool, axis: int) -> Tensor:
    whole = torch.from_numpy(matrix)
    return whole.flip(axis) if flip else whole
