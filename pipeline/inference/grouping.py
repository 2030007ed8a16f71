r"""From a real-valued map to numbered objects: modes of its values, components of their places.

    inside   f > `inside`, m1 / 2 by itself: halfway between background and the least value of an object    (1)
    modes    mean shift of the values of each blob of (1) by itself (numerics/modes.py)                     (2)
    objects  components of one blob and one mode that are somewhere three pixels thick; what is thinner     (3)
             goes to the object beside it: a blurred edge from 4 down to 0 passes through 2 and 3; where a whole blob
             is thin it is one object
    grown    by the border of `border` pixels which training took off                                       (4)
    kept     objects of `min_area` pixels or more, with their holes if these are wanted                     (5)

Blobs are grouped each by itself, so that an object does not depend on what lies elsewhere in the image, and a value may
serve two objects that do not touch: a map holds apart as many as it likes, if neighbours differ. Neighbours are the
four pixels beside, above and below.

Where training took a border off, f falls between two that touch, but a network trained briefly does not let it fall to
the background. An `inside` near m1 then parts them at their valley and leaves out what f is unsure of; the border that
is given back is the slope that it cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from numpy.typing import NDArray
from scipy.ndimage import label, maximum_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.losses.dvis import FOREGROUND_MARGIN
from pipeline.numerics.modes import mean_shift

Grouping = Callable[[NDArray[np.floating]], NDArray[np.int32]]
"""What a network gives, (C, rows, columns), -> objects 1, 2 ... (rows, columns), 0 beside them."""


@dataclass(frozen=True, kw_only=True)
class ModeGrouping:
    """`group` of the only channel, as a `_target_` of configs.

    border: DVISLoss's, or less where a larger weight of objects has moved their edge outwards.
    fill_holes: what one object encloses, and nothing else touches, becomes its own: the lumen of a gland.
    """

    bandwidth: float = 0.9
    min_area: int = 20
    border: int = 0
    inside: float = FOREGROUND_MARGIN / 2
    fill_holes: bool = False

    def __call__(self, outputs: NDArray[np.floating]) -> NDArray[np.int32]:
        (f,) = outputs
        objects = group(f, bandwidth=self.bandwidth, min_area=self.min_area, border=self.border, inside=self.inside)
        return filled(objects) if self.fill_holes else objects


def group(
    f: NDArray[np.floating],
    *,
    bandwidth: float = 0.9,
    min_area: int = 20,
    border: int = 0,
    inside: float = FOREGROUND_MARGIN / 2,
) -> NDArray[np.int32]:
    """Objects 1, 2 ... in the order of their first pixels, of a map (rows, columns); 0 beside them.

    bandwidth: of the mean shift; 0.9 parts what the training's margin of 1 has parted, 0.4 also what came less far.
    min_area: pixels of the least object. border, inside: as above. ValueError: values that are not finite.
    """
    foreground = f > inside
    blobs, places = label(foreground)[0], np.flatnonzero(foreground)
    own = blobs.ravel()[places]
    modes = mean_shift(f.ravel()[places], own - 1, bandwidth=bandwidth)
    parts = blobs
    if modes.any():
        parts = np.zeros_like(blobs)
        parts.ravel()[places] = own * (modes.max() + 1) + modes
        parts = components(parts)
    own = parts.ravel()[places]
    thick = np.bincount(own, _thick(parts).ravel()[places], int(own.max(initial=0)) + 1) > 0
    kept = np.where(thick, np.arange(len(thick), dtype=np.int32), 0)[own]
    if not kept.all():
        own = grown(kept, places, f.shape)
        own = np.where(own > 0, own, len(thick) + blobs.ravel()[places])
    if border:
        objects = np.zeros(f.shape, np.int32)
        objects.ravel()[places] = own
        places = np.flatnonzero(maximum_filter(foreground, 2 * border + 1))
        own = grown(objects.ravel()[places], places, f.shape)
    objects = np.zeros(f.shape, np.int32)
    objects.ravel()[places] = numbered(own, min_area)
    return objects


def numbered(objects: NDArray[np.int32], min_area: int) -> NDArray[np.int32]:
    """Objects of `min_area` pixels or more as 1, 2 ... in the order of their first pixels, the others as 0."""
    areas = np.bincount(objects, minlength=1)
    areas[0] = 0
    first = np.zeros(len(areas), np.intp)
    starts = np.flatnonzero(np.diff(objects, prepend=-1))[::-1]  # of runs, the last one first:
    first[objects[starts]] = starts  # of equal indices the last one written stays
    kept = np.flatnonzero(areas >= max(min_area, 1))
    number = np.zeros(len(areas), np.int32)
    number[kept[np.argsort(first[kept])]] = np.arange(1, len(kept) + 1)
    return number[objects]


def filled(objects: NDArray[np.int32]) -> NDArray[np.int32]:
    """Each background component that touches one object and neither another nor the image's border goes to it."""
    holes = label(objects == 0)[0]
    n = int(holes.max(initial=0)) + 1
    least, most = np.full(n, np.iinfo(np.int32).max, np.int32), np.zeros(n, np.int32)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        for hole, beside in ((holes[one], objects[other]), (holes[other], objects[one])):
            edge = (hole > 0) & (beside > 0)
            np.minimum.at(least, hole[edge], beside[edge])
            np.maximum.at(most, hole[edge], beside[edge])
    owner = np.where(least == most, most, 0)
    owner[np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])] = 0
    return np.where(objects > 0, objects, owner[holes])


def components(keys: NDArray[np.integer | np.bool_]) -> NDArray[np.int32]:
    """Components of equal keys, numbered from 1 in the order of their first pixels; 0 where the key is 0.

    Over runs of equal keys along the rows, of which there are far fewer than pixels.
    """
    starts = np.ones(keys.shape, bool)
    np.not_equal(keys[:, 1:], keys[:, :-1], out=starts[:, 1:])
    first = np.flatnonzero(starts)
    lengths = np.diff(first, append=keys.size)
    run = np.repeat(np.arange(len(first), dtype=np.int32), lengths).reshape(keys.shape)
    same = (keys[1:] == keys[:-1]) & (keys[1:] != 0)
    same[:, 1:] &= starts[1:, 1:] | starts[:-1, 1:] | ~same[:, :-1]  # one pixel of each pair of runs is enough
    upper, lower = run[:-1][same], run[1:][same]
    n = len(first)
    graph = coo_array((np.ones(len(upper), np.int8), (upper, lower)), shape=(n, n))
    found = connected_components(graph, directed=False)[1]
    there = keys.ravel()[first] != 0
    ids, order = np.unique(found[there], return_index=True)
    number = np.zeros(int(found.max(initial=0)) + 1, np.int32)
    number[ids[np.argsort(order)]] = np.arange(1, len(ids) + 1)
    return np.repeat(np.where(there, number[found], 0), lengths).reshape(keys.shape)


def _thick(parts: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels whose eight neighbours are of the same part; beyond the image's border everything is."""
    same = np.pad(parts, 1, mode="edge")
    across = (same[:, :-2] == same[:, 1:-1]) & (same[:, 2:] == same[:, 1:-1])
    down = (parts == same[:-2, 1:-1]) & (parts == same[2:, 1:-1])
    return (parts > 0) & down & across[1:-1] & across[:-2] & across[2:]


def grown(parts: NDArray[np.int32], inside: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Pixels of no part take that of a neighbour that has one, round by round. (N,) at flat indices `inside`."""
    rows, columns = np.divmod(inside, shape[1])
    width = shape[1] + 2
    place = (rows + 1) * width + columns + 1  # with a border of no part
    whole = np.zeros((shape[0] + 2) * width, np.int32)
    whole[place] = parts
    left = place[parts == 0]
    while len(left):
        found = np.zeros(len(left), np.int32)
        for step in (-width, width, -1, 1):
            found = np.where(found == 0, whole[left + step], found)
        if not found.any():
            break
        whole[left] = found
        left = left[found == 0]
    return whole[place]


class Groupd(MapTransform):
    """What a network gives, (C, rows, columns) under `keys`, -> objects (1, rows, columns), float32; for engines."""

    def __init__(self, keys: KeysCollection, *, grouping: Grouping) -> None:
        super().__init__(keys)
        self.grouping = grouping

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        sample = dict(data)
        for key in self.keys:
            objects = self.grouping(torch.as_tensor(sample[key]).as_subclass(torch.Tensor).cpu().numpy())
            numbers = torch.from_numpy(objects).to(torch.float32)[None]
            sample[key] = convert_to_dst_type(numbers, sample[key], dtype=torch.float32)[0]
        return sample
