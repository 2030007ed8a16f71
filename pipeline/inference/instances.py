r"""Objects of pictures of any size: the network on the picture's own pixels, by tiles where it is large, grouped once.

    f on tile T = network(picture on T and `halo` pixels around it) on T                                    (1)
    f = mean over mirror images v of min(f_v, m1), mirrored back, + max(f_0 - m1, 0)                        (2)

Pictures are never stretched: a network knows nuclei by their size. Where f at a pixel depends on no more than `halo`
pixels around it, (1) is f of the whole picture to the last bit of rounding, and grouping sees no seam: objects are
numbered on the whole map, not joined afterwards. Tiles begin at multiples of `tile`, which must be one of the network's
stride and of the period of its positions.

A mean of f over mirror images is none, since each numbers the objects in its own way. But what is 0 beside them, falls
between them and is m1 or more on them does not depend on the numbers: (2) has the mean of how far inside a pixel lies,
and the numbers of the picture as it is, f_0. It costs 2^n networks for n axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, combinations
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import CaseError
from pipeline.inference.grouping import Grouping
from pipeline.inference.slabs import Intensity
from pipeline.losses.dvis import FOREGROUND_MARGIN

MOST_OBJECTS = 65535  # that 16 bits can number


class InstanceInferer(Inferer):
    """Runs a 2-D network on pictures by (1): (B, C, rows, columns) -> (B, C_out, rows, columns), not yet grouped.

    grouping: what makes objects of it. tile, halo: in pixels; a picture that fits into one tile is not divided.
    mirror_axes: of (2), 0 rows, 1 columns; the first channel is f, the others are those of the picture as it is.
    margin: m1 of (2); None: there is no f, the mean is taken of all channels (logits of classes).
    ValueError: a halo that is no multiple of 64, a tile that is none.
    """

    spatial_dims = 2  # of the image it takes

    def __init__(
        self,
        *,
        grouping: Grouping,
        tile: int = 1024,
        halo: int = 256,
        mirror_axes: Sequence[int] = (),
        margin: float | None = FOREGROUND_MARGIN,
    ) -> None:
        super().__init__()
        if tile <= 0 or tile % 64 or halo < 0 or halo % 64:
            raise ValueError(
                f"tile {tile} and halo {halo} must be multiples of 64, or tiles see positions of their own"
            )
        self.grouping, self.tile, self.halo = grouping, tile, halo
        self.mirror_axes, self.margin = mirror_axes, margin

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """ValueError: `inputs` are no pictures."""
        if inputs.ndim != 4:
            raise ValueError(f"inputs of shape {tuple(inputs.shape)} must be pictures (B, C, rows, columns)")
        pictures = inputs.as_subclass(Tensor)
        first = self._whole(pictures, network, *args, **kwargs)
        views = [[2 + axis for axis in axes] for axes in _subsets(self.mirror_axes)[1:]]
        mirrored = (self._whole(pictures.flip(axes), network, *args, **kwargs).flip(axes) for axes in views)
        if self.margin is None:
            first = sum(mirrored, first) / (1 + len(views))
        elif views:
            f = first[:, :1]
            inside = sum((each[:, :1].clamp(max=self.margin) for each in mirrored), f.clamp(max=self.margin))
            first = torch.cat([inside / (1 + len(views)) + (f - self.margin).relu(), first[:, 1:]], dim=1)
        return convert_to_dst_type(first, inputs)[0]

    def _whole(self, pictures: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """(1)."""
        rows, columns = pictures.shape[2:]
        if max(rows, columns) <= self.tile + 2 * self.halo:
            return network(pictures, *args, **kwargs)
        strips = []
        for top, own_rows in self._tiles(rows):
            parts = [
                network(pictures[:, :, top, left], *args, **kwargs)[:, :, own_rows, own_columns]
                for left, own_columns in self._tiles(columns)
            ]
            strips.append(torch.cat(parts, dim=3))
        return torch.cat(strips, dim=2)

    def smaller(self) -> None:
        """As roads.Road says: a tile is what the network must see."""

    def _tiles(self, size: int) -> list[tuple[slice, slice]]:
        """Along one axis: what the network sees, and what of this is the tile's own."""
        tiles = []
        for start in range(0, size, self.tile):
            first = max(start - self.halo, 0)
            own = slice(start - first, min(start + self.tile, size) - first)
            tiles.append((slice(first, min(start + self.tile + self.halo, size)), own))
        return tiles


def _subsets(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """All of them, the empty one first."""
    return list(chain.from_iterable(combinations(axes, size) for size in range(len(axes) + 1)))


def picture_objects(
    values: NDArray[np.float32],
    network: Callable[[Tensor], Tensor],
    *,
    intensity: Intensity,
    inferer: InstanceInferer,
    device: torch.device,
) -> NDArray[np.uint16]:
    """Objects 1, 2 ... (rows, columns) of a picture (rows, columns, channels) of 0 ... 1; 0 beside them.

    CaseError TOO_MANY_OBJECTS: more than 16 bits can number.
    """
    picture = torch.from_numpy(values).movedim(-1, 0).contiguous().to(device)
    scaled = torch.as_tensor(intensity({"image": picture})["image"]).as_subclass(Tensor)
    objects = inferer.grouping(inferer(scaled[None], network)[0].cpu().numpy())
    if (n := int(objects.max(initial=0))) > MOST_OBJECTS:
        raise CaseError(
            "TOO_MANY_OBJECTS", f"{n} objects were found, a mask numbers {MOST_OBJECTS}: cut the picture into parts"
        )
    return objects.astype(np.uint16)
