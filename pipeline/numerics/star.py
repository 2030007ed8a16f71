r"""Star-shaped objects on a pixel grid: rays to a centre, a tree of digital rays, the nearest star-shaped mask.

An object is star-shaped about c when the segment from each of its points to c lies in it. On pixels, with the ring
m(x) = max_k |c_k - x_k| about the pixel c, the segment of x is digitised by one pixel a ring,

    segment(x):  x + (c - x) j / m(x), each coordinate rounded,  j = 0 ... m(x)                              (1)

and a mask is called star-shaped when it is a union of (1)s, each of which may start at a real point. Then (1) of any
of its pixels stays within 1 pixel of it in the maximum norm, on a grid of any size: a pixel lies at most 1/2 off the
real segment to which it belongs, in each coordinate, so on every ring do their rays, and rounding makes 1 of it. (For a
real c, whose pixel is not its place, 1.5.) (1) is no tree: the segment of a pixel on it runs beside it. For
optimisation there is a tree that stays near,

    parent(x)_k = x_k + sign(c_k - x_k) [|c_k - x_k| > v(m) m],   v(m) = frac(m (sqrt(5) - 1) / 2)           (2)

which goes to the next ring by rounding with a threshold that differs from ring to ring. With the obvious v = 1/2
(Bresenham's first step) errors add up: its paths bend up to 8 pixels away from the ray within 64 pixels, 62 within 506;
those of (2) 1.4 and 2.1. (No tree has a bound for all sizes: Chun, Korman, Noellenburg, Tokuyama, Consistent Digital
Rays, 2009: the logarithm of the size is the least, and (2) has it.)

With several centres (an object each) a pixel belongs to the nearest, in the maximum norm. Centres are (M, n), in pixels
in the axes' order; a row with nan is an object that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

GOLDEN = (5**0.5 - 1) / 2
TOLERANCE = 1.5  # pixels; the most that a ray of a star-shaped mask has missed it by, see above
SEARCHES = 12  # for the constant that gives a volume; what is left of it is filled in


def object_center(mask: NDArray[np.bool_], center: Sequence[float] | None = None) -> NDArray[np.float64]:
    """`center` (None: the centroid) if its pixel is in the mask, else the deepest pixel of the mask: (n,), in pixels.

    The first in memory of equally deep ones. nan for an empty mask.
    """
    if not mask.any():
        return np.full(mask.ndim, np.nan)
    wanted = np.argwhere(mask).mean(axis=0) if center is None else np.asarray(center, dtype=float)
    pixel = np.floor(wanted + 0.5)
    if (pixel >= 0).all() and (pixel < mask.shape).all() and mask[tuple(pixel.astype(int))]:
        return wanted
    depth = distance_transform_edt(np.pad(mask, 1))[(slice(1, -1),) * mask.ndim]  # beyond the image is outside
    return np.array(np.unravel_index(depth.argmax(), mask.shape), dtype=float)


def ray_field(shape: Sequence[int], centers: Tensor) -> Tensor:
    """s (n, *shape), float64: from each pixel the unit vector to its centre, 0 at a centre and where there is none."""
    _, owner, _ = _territories(shape, centers)
    if owner is None:
        return centers.new_zeros((len(shape), *shape), dtype=torch.float64)
    real = centers[~centers.isnan().any(dim=1)].double()
    rays = torch.stack([real[:, k][owner] - axis for k, axis in enumerate(_axes(shape, centers.device))])
    return rays / rays.norm(dim=0).clamp(min=torch.finfo(torch.float64).tiny)


def parents(shape: Sequence[int], centers: Tensor) -> tuple[Tensor, Tensor]:
    """(2): the flat index of each pixel's parent and its ring, both (pixels,) int64; a root is its own parent.

    Without a centre every pixel is a root. Raises ValueError for a centre outside the image.
    """
    roots, owner, ring = _territories(shape, centers)
    index = torch.arange(ring.numel(), device=ring.device)
    if owner is None:
        return index, ring.flatten()
    threshold = torch.arange(int(ring.max()) + 1, device=ring.device, dtype=torch.float64)
    threshold = (threshold * ((threshold * GOLDEN) % 1)).floor().long()[ring]
    stride = 1
    for k, axis in reversed(list(enumerate(_axes(shape, ring.device)))):
        offset = roots[:, k][owner] - axis
        index = index + stride * (offset.sign() * (offset.abs() > threshold)).flatten()
        stride *= shape[k]
    return index, ring.flatten()


def star_mask(scores: Tensor, centers: Tensor, at_least: int = 0, at_most: int | None = None) -> Tensor:
    """The star-shaped mask (*spatial), bool, on the CPU, of the largest sum of scores (*spatial): a margin of logits.

    The optimum of all masks that are closed under (2), exact; then the segments (1) of its pixels are added, which is
    what makes it star-shaped, and moves its border by no more than the path's distance from the ray. Where a score is
    -inf nothing lies, and no segment crosses. The centre's pixel is in, unless no score is positive. The mask is empty
    then, and also where there is no centre.
    at_least, at_most: in pixels; the volume holds exactly: the optimum for scores + a constant, filled up from the
    centre outwards. Raises ValueError for nan scores, a centre outside the image, or a volume that cannot be had.
    """
    scores, centers = scores.detach().cpu().double(), centers.cpu()
    if scores.isnan().any():
        raise ValueError("scores hold nan: there is no nearest mask")
    found = torch.zeros_like(scores, dtype=torch.bool)
    roots, owner, _ = _territories(scores.shape, centers)
    if owner is None:
        return found
    # No path or segment leaves the box of what it joins.
    joined = torch.cat([(scores > 0).nonzero(), roots])
    box = tuple(slice(a, b + 1) for a, b in zip(joined.amin(0).tolist(), joined.amax(0).tolist(), strict=True))
    part = scores[box].flatten()
    corner = torch.tensor([side.start for side in box], dtype=centers.dtype)
    grid = _Grid.of([side.stop - side.start for side in box], centers - corner)
    inside = grid.star(part)
    if at_most is not None and inside.sum() > at_most:
        inside = grid.of_volume(part, at_most)
    elif inside.sum() < at_least:
        return _Grid.of(scores.shape, centers).of_volume(scores.flatten(), at_least).view(scores.shape)
    found[box] = inside.view(grid.shape)
    return found


def rays_violated(mask: Tensor, centers: Tensor, tolerance: float = TOLERANCE) -> float:
    """The share of the mask's pixels whose segment to the centre leaves the mask by more than `tolerance` pixels.

    It knows nothing of (1) and (2): the real segment is sampled once a pixel along its longest axis, and the pixel of
    each sample must lie that near to one of the mask. Of centres that are equally near but for the rounding to pixels a
    pixel may see either. 0 for an empty mask; nan where there is no centre.
    """
    inside = mask.cpu().numpy().astype(bool)
    centers = centers[~centers.isnan().any(dim=1)].double().cpu()
    if not inside.any():
        return 0.0
    if not len(centers):
        return float("nan")
    near = torch.from_numpy(distance_transform_edt(~inside) <= tolerance).flatten()
    points = torch.from_numpy(np.argwhere(inside)).double()
    away = (centers[:, None] - points).abs().amax(dim=2)
    owner, of = (away <= away.amin(dim=0) + 1).nonzero(as_tuple=True)  # rounding moves each centre by up to 1 / 2
    ways = centers[owner] - points[of]
    samples = ways.abs().amax(dim=1).ceil().clamp(min=1)
    samples, order = samples.sort(descending=True)  # of which the first are still on their way at sample j
    starts, steps = (points[of[order]] + 0.5).T, (ways[order] / samples[:, None]).T
    violated = torch.zeros(len(order), dtype=torch.bool)
    going = len(order) - samples.long().bincount().cumsum(dim=0)
    for j in range(1, len(going)):
        on = slice(int(going[j - 1]))
        pixel = torch.zeros(on.stop, dtype=torch.long)
        for side, start, step in zip(inside.shape, starts, steps, strict=True):
            pixel = pixel * side + (start[on] + j * step[on]).floor().long()
        violated[on] |= ~near[pixel]
    seen = torch.zeros(len(points), dtype=torch.bool)
    seen[of[order[~violated]]] = True
    return 1 - seen.double().mean().item()


@dataclass(frozen=True, eq=False)
class _Grid:
    """The pixels of an image ring by ring: `order` their flat indices, `parent` in positions of `order`."""

    shape: tuple[int, ...]
    order: Tensor
    parent: Tensor
    rings: list[int]  # how many pixels each ring has
    root: Tensor  # flat index of each pixel's root, in the image's order

    @classmethod
    def of(cls, shape: Sequence[int], centers: Tensor) -> _Grid:
        parent, ring = parents(shape, centers)
        order = torch.from_numpy(np.argsort(ring.numpy().astype(np.uint16), kind="stable"))  # 16 bits: a radix sort
        position = torch.empty_like(order)
        position[order] = torch.arange(len(order))
        roots, owner, _ = _territories(shape, centers)
        assert owner is not None
        flat = torch.from_numpy(np.ravel_multi_index(tuple(roots.T.numpy()), tuple(shape)))
        return cls(tuple(shape), order, position[parent[order]], ring.bincount().tolist(), flat[owner].flatten())

    def star(self, scores: Tensor) -> Tensor:
        """The star-shaped mask (pixels,) of the largest sum of scores (pixels,), float64; see `star_mask`."""
        best = scores[self.order]  # of each pixel's branch, if it is taken
        start = [0, *np.cumsum(self.rings).tolist()]
        levels = [slice(a, b) for a, b in pairwise(start)]
        for level in reversed(levels[1:]):
            best.index_add_(0, self.parent[level], best[level].clamp(min=0))
        taken = best > 0
        taken[: start[1]] |= bool((scores > 0).any()) & (best[: start[1]] > -torch.inf)
        for level in levels[1:]:
            taken[level] &= taken[self.parent[level]]
        leaf = taken.clone()
        leaf[self.parent[start[1] :][taken[start[1] :]]] = False
        forbidden = scores == -torch.inf
        found = self._segments(self.order[leaf], forbidden)
        missed = self.order[taken][~found[self.order[taken]]]
        return found | self._segments(missed, forbidden)

    def of_volume(self, scores: Tensor, volume: int) -> Tensor:
        """`star` of scores + a constant, with `volume` pixels exactly."""
        free = scores[scores > -torch.inf]
        low, high = free.min().item() - 1, free.max().item()  # constants to subtract: everything, nothing
        outer, inner = self.star(scores - low), torch.zeros_like(scores, dtype=torch.bool)
        if outer.sum() < volume:
            raise ValueError(f"{volume} pixels are asked for, but {int(outer.sum())} can be reached: lower the volume")
        for search in range(SEARCHES):
            most, least = int(outer.sum()), int(inner.sum())
            if most - least <= volume / 1000:
                break
            # By turns: interpolation, for volumes that follow the constant, and halving, for those that jump.
            middle = low + (high - low) * ((most - volume) / (most - least) if search % 2 else 0.5)
            found = self.star(scores - middle)
            if found.sum() < volume:
                high, inner = middle, found
            else:
                low, outer = middle, found
        # Ring by ring, so that what is added of a segment is its inner part.
        between = self.order[(outer & ~inner)[self.order]]
        inner[between[: volume - int(inner.sum())]] = True
        return inner

    def _segments(self, pixels: Tensor, forbidden: Tensor) -> Tensor:
        """The union (pixels of the image,) of the segments (1) of some pixels, but for those that meet `forbidden`.

        pixels: in the order of their rings.
        """
        covered, pixels = torch.zeros_like(forbidden), pixels.flip(0)
        if forbidden.any():
            met = torch.zeros(len(pixels), dtype=torch.bool)
            for passed in self._walk(pixels):
                met[: len(passed)] |= forbidden[passed]
            pixels = pixels[~met]
        for passed in self._walk(pixels):
            covered[passed] = True
        return covered

    def _walk(self, pixels: Tensor) -> Iterator[Tensor]:
        """(1) for j = 0, 1, ...: where the pixels are that have not arrived, the outermost of which come first."""
        start = torch.stack(torch.unravel_index(pixels, self.shape))
        way = torch.stack(torch.unravel_index(self.root[pixels], self.shape)) - start
        ring = way.abs().amax(dim=0)
        arrived = ring.bincount(minlength=1).cumsum(dim=0)
        turn, length = way.sign(), ring.clamp(min=1).double()
        yield pixels
        for j in range(1, len(arrived)):
            on = slice(len(pixels) - int(arrived[j - 1]))
            gone = turn[:, on] * (way[:, on].abs() * j / length[on] + 0.5).floor().long()
            at = torch.zeros_like(pixels[on])
            for side, coordinate in zip(self.shape, start[:, on] + gone, strict=True):
                at = at * side + coordinate
            yield at


def _territories(shape: Sequence[int], centers: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
    """The centres' pixels (present, n), the index of each pixel's (*shape), None without any, and its ring (*shape)."""
    roots = (centers[~centers.isnan().any(dim=1)].double() + 0.5).floor().long()
    ring = torch.zeros(*shape, dtype=torch.long, device=centers.device)
    if not len(roots):
        return roots, None, ring
    if ((roots < 0) | (roots >= torch.tensor(shape, device=roots.device))).any():
        raise ValueError(f"centres {roots.tolist()} are not all in an image of {tuple(shape)}: see object_center")
    owner = torch.zeros_like(ring)
    for number, root in enumerate(roots):
        away = ring.new_zeros(())
        for k, axis in enumerate(_axes(shape, ring.device)):
            away = torch.maximum(away, (root[k] - axis).abs())
        nearer = away < ring if number else torch.ones_like(ring, dtype=torch.bool)
        owner, ring = torch.where(nearer, number, owner), torch.where(nearer, away, ring)
    return roots, owner, ring


def _axes(shape: Sequence[int], device: torch.device) -> list[Tensor]:
    """The coordinates along each axis, shaped to broadcast."""
    return [torch.arange(length, device=device).view(-1, *[1] * (len(shape) - 1 - k)) for k, length in enumerate(shape)]
