"""Volumes and star shapes of whole objects, kept exactly: from logits on the delivered grid to its labels.

This is the last thing that is done to a case. A mask that is stitched of tiles or resampled after it was made
star-shaped is no longer, so a prior on a whole object acts on the grid on which the labels are written:

    a volume       the mask has the number of pixels that is asked for, or one in an interval
    a star shape   each object is star-shaped about its centre (numerics/star.py says what that is on pixels)

of all such masks the one whose margin (the label's logit minus the best other) has the largest sum; with several such
labels, each in turn (numerics' `margin_labels`). A centre that nobody gives is told by the first pass: of the margin's
probability, smoothed, the part that reaches deepest, and of that its centroid, or its deepest point where the centroid
lies outside. In training the centre is found in the same way, in the true label (data/objects.py).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label, maximum, uniform_filter
from torch import Tensor

from pipeline.errors import CaseError
from pipeline.numerics.simplex import margin_labels, volume_mask
from pipeline.numerics.star import object_center, star_mask

# flags, each about one label
CENTER_ON_BACKGROUND = "CENTER_ON_BACKGROUND"  # a given centre lies where the network sees no object
STAR_CHANGED = "STAR_CHANGED"  # no star about the centre comes near to what the network sees

MUCH = 0.1  # share of the network's own mask; from that on STAR_CHANGED is flagged
SMOOTHING = 0.02  # width of the window, passed three times, as a share of the image's mean side
MANY = 2**20  # pixels; of larger images every second, third, ... along each axis is looked at for a centre

Centers = Mapping[int, NDArray[np.float64]]
Volumes = Mapping[int, tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Shaped:
    """labels: (*spatial), uint8, on the CPU. centers: label -> (objects, n), those that were used.

    flags: (flag, label), see above.
    """

    labels: Tensor
    centers: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    flags: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ObjectPrior:
    """Called with logits (C, *spatial), C = 1 (of label 1) or one channel a label, gives Shaped.

    star_shaped: labels that are, about predicted centres where none are given. objects: how many centres are predicted
    for a label at most, the deepest parts first.
    """

    star_shaped: Sequence[int] = ()
    objects: int = 1

    def __call__(self, logits: Tensor, centers: Centers | None = None, volumes: Volumes | None = None) -> Shaped:
        """centers: label -> (objects, n), in pixels in the axes' order; such a label is star-shaped in any case.

        volumes: label -> (least, most), in pixels; of all its objects together. CaseError: BAD_OBJECT.
        """
        scores = logits.detach().as_subclass(Tensor).cpu()
        scores = torch.cat([torch.zeros_like(scores), scores]) if len(scores) == 1 else scores
        given, bounds = centers or {}, volumes or {}
        used: dict[int, NDArray[np.float64]] = {}

        def mask(number: int, margin: Tensor) -> Tensor:
            least, most = bounds.get(number, (0, margin.numel()))
            if number not in given and number not in self.star_shaped:
                return volume_mask(margin, least, most)
            about = given[number] if number in given else predicted_centers(margin, self.objects, needed=least > 0)
            used[number] = about
            return star_mask(margin, torch.from_numpy(np.asarray(about, dtype=float)), least, most)

        asked = sorted({*given, *bounds, *self.star_shaped})
        try:
            labels = margin_labels(scores, {number: partial(mask, number) for number in asked})
        except ValueError as error:
            raise CaseError("BAD_OBJECT", f"{error}; see the centres and volumes that are asked for") from error
        flags = tuple(_flags(labels, scores.argmax(dim=0), used, given))
        return Shaped(labels.to(torch.uint8), used, flags)


def predicted_centers(margin: Tensor, objects: int = 1, *, needed: bool = False) -> NDArray[np.float64]:
    """Of the objects that a margin (*spatial) shows, the deepest first: (found, n), in pixels.

    needed: one in any case, at the largest smoothed probability if no pixel is more likely the object's than not.
    """
    smooth = torch.sigmoid(margin.double()).numpy()
    width = round(SMOOTHING * float(np.mean(margin.shape))) | 1  # odd: an even window would move it by half a pixel
    for _ in range(3):
        smooth = uniform_filter(smooth, width, mode="nearest")
    step = max(1, round((smooth.size / MANY) ** (1 / smooth.ndim)))  # what is smooth can be seen at fewer pixels
    inside = smooth[(slice(None, None, step),) * smooth.ndim] > 0.5
    if not inside.any():
        step, inside = 1, (margin > 0).numpy()  # too small to be seen from afar
    if not inside.any():
        deepest = np.unravel_index(smooth.argmax(), smooth.shape)
        return np.array([deepest] if needed else np.empty((0, margin.dim())), dtype=float)
    parts, count = label(inside)
    depth = distance_transform_edt(np.pad(inside, 1))[(slice(1, -1),) * inside.ndim]  # beyond the image is outside
    order = np.argsort(-maximum(depth, parts, range(1, count + 1)), kind="stable")[:objects]
    return step * np.array([object_center(parts == 1 + number) for number in order])


def _flags(labels: Tensor, plain: Tensor, used: Centers, given: Centers) -> list[tuple[str, int]]:
    flags = []
    for number, centers in used.items():
        before, after = plain == number, labels == number
        pixels = np.floor(np.asarray(centers) + 0.5).astype(int)
        if number in given and not all(before[tuple(pixel)] for pixel in pixels):
            flags.append((CENTER_ON_BACKGROUND, number))
        if (before ^ after).sum() > MUCH * before.sum():
            flags.append((STAR_CHANGED, number))
    return flags


class ObjectPriord(MapTransform):
    """`prior` for MONAI's engines: logits (C, *spatial) under `keys` become labels (1, *spatial) of floats.

    centers_key, volumes_key: of tensors (labels, objects, n) and (C,) as data/objects.py makes them of a true label,
    to see what a true centre or a true volume is worth; None: centres are predicted, volumes are free. The first row
    of the centres is label 1's. A volume that is 0 in a picture without the object leaves it free too.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prior: ObjectPrior,
        *,
        centers_key: str | None = None,
        volumes_key: str | None = None,
    ) -> None:
        super().__init__(keys)
        self.prior, self.centers_key, self.volumes_key = prior, centers_key, volumes_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        sample = dict(data)
        centers = _rows(sample[self.centers_key]) if self.centers_key else None
        volumes = _exact(sample[self.volumes_key]) if self.volumes_key else None
        for key in self.keys:
            shaped = self.prior(torch.as_tensor(sample[key]), centers, volumes)
            sample[key] = convert_to_dst_type(shaped.labels[None], sample[key], dtype=torch.float32)[0]
        return sample


def _rows(centers: Tensor) -> dict[int, NDArray[np.float64]]:
    rows = {number: row[~row.isnan().any(dim=1)] for number, row in enumerate(torch.as_tensor(centers).cpu(), start=1)}
    return {number: row.double().numpy() for number, row in rows.items() if len(row)}


def _exact(volumes: Tensor) -> dict[int, tuple[int, int]]:
    counts = enumerate(torch.as_tensor(volumes).tolist()[1:], start=1)
    return {number: (round(count), round(count)) for number, count in counts}
