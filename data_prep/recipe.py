r"""What is done to every scan: labels merged, intensities windowed, the grid changed, the signed distance taken.

Each file of a case:
    image     canonical axes -> clipped to the window -> resampled               int16 for CT, float32 for all else
    label     canonical axes -> merged -> resampled by area                      uint8
    distance  of the union of all labels, slice by slice, in pixels of the output grid; {distance > 0} = {label > 0}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.grid import resample, resample_labels, resampled_affine, target_shape, values_in
from pipeline.errors import CaseError, InputError
from pipeline.io.orientation import canonical
from pipeline.io.pixels import as_labels
from pipeline.io.volume import Volume
from pipeline.numerics.signed_distance import signed_distance

INT16 = np.iinfo(np.int16)

LabelTable = Mapping[str, tuple[int, ...]]  # output name -> values of the source; the k-th name is written as k


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of the preparation. `size` and `spacing_mm` exclude each other; with neither the grid is kept."""

    window: tuple[float, float] | None = None
    """Intensities are clipped to [low, high] before anything is averaged; padded slices get the low end, air."""
    size: int | None = None
    """Axial slices are padded to squares and resized to size x size pixels; the slices themselves stay as they are."""
    spacing_mm: tuple[float, float, float] | None = None
    """Voxel size, met to the nearest whole number of voxels along each axis: the written affine has the true one."""
    labels: LabelTable | None = None
    """Output label k is the k-th name, made of these values of the source; None keeps the source's values."""

    threshold: float | None = None
    """Of pictures' masks with grey levels: the object is what lies above this share of the range."""

    def __post_init__(self) -> None:
        if self.window is not None and not self.window[0] < self.window[1]:
            raise InputError(f"--window {self.window[0]:g},{self.window[1]:g}: the low end must lie below the high end")
        if self.size is not None and self.spacing_mm is not None:
            raise InputError("--size and --spacing exclude each other: give one of them")
        if self.size is not None and self.size < 1:
            raise InputError(f"--size {self.size} must be a positive number of pixels")
        if self.spacing_mm is not None and not min(self.spacing_mm) > 0:
            raise InputError(f"--spacing {self.spacing_mm}: every millimetre value must be positive")
        if self.threshold is not None and not 0 <= self.threshold < 1:
            raise InputError(f"--threshold {self.threshold:g} must be a share of the mask's range, from 0 to below 1")
        values = [value for merged in (self.labels or {}).values() for value in merged]
        if len(values) != len(set(values)) or not all(1 <= value <= 255 for value in values):
            raise InputError(f"--label: the values {values} must lie in 1..255, each in one label only")

    def as_json(self) -> dict[str, Any]:
        """The settings under the names that dataset.json and provenance.json use."""
        labels = None if self.labels is None else {name: list(values) for name, values in self.labels.items()}
        window, spacing = (None if pair is None else list(pair) for pair in (self.window, self.spacing_mm))
        return {"window": window, "size": self.size, "spacing": spacing, "labels": labels}


@dataclass(frozen=True, eq=False)
class Example:
    """One prepared scan; the three volumes share a grid."""

    image: Volume
    label: Volume
    distance: Volume
    """float32, pixels, positive inside."""


def apply(recipe: Recipe, image: Volume, label: Volume, *, is_ct: bool, known: Mapping[int, str] | None) -> Example:
    """Prepare one scan. image: (x, y, z[, channel]); label: (x, y, z) on the same grid, in any axis order.

    known: the values that the dataset declares, None when it declares none; CaseError BAD_LABELS for others.
    """
    image, label = canonical(image), canonical(label)
    labels = _merged(label.array, recipe.labels, known)
    shape = target_shape(image, recipe.size, recipe.spacing_mm)
    square = recipe.size is not None
    affine = resampled_affine(image, shape, square=square)
    labels = resample_labels(labels, shape, square=square)
    distance = np.stack([signed_distance(labels[:, :, k] > 0) for k in range(shape[2])], axis=2)
    intensities = _intensities(image.array, recipe, shape, is_ct=is_ct)
    return Example(Volume(intensities, affine), Volume(labels, affine), Volume(distance, affine))


def _intensities(array: NDArray, recipe: Recipe, shape: tuple[int, ...], *, is_ct: bool) -> NDArray:
    channels = [array] if array.ndim == 3 else list(np.moveaxis(array, 3, 0))
    out = np.stack([_resampled_channel(channel, recipe, shape) for channel in channels], axis=3)
    if is_ct:
        out = np.rint(out).clip(INT16.min, INT16.max).astype(np.int16)
    return out[..., 0] if array.ndim == 3 else out


def _resampled_channel(array: NDArray, recipe: Recipe, shape: tuple[int, ...]) -> NDArray[np.float32]:
    air = array.min() if recipe.window is None else recipe.window[0]
    return resample(array, shape, square=recipe.size is not None, fill=air, window=recipe.window)


def _merged(array: NDArray, merge: LabelTable | None, known: Mapping[int, str] | None) -> NDArray[np.uint8]:
    """The label map with output values; CaseError BAD_LABELS for values that are no label."""
    try:
        labels = as_labels(array)
    except ValueError as error:
        raise CaseError("BAD_LABELS", f"{error}: is this a probability map?") from error
    if labels.dtype != np.uint8:
        raise CaseError(
            "BAD_LABELS", f"the label map has the label {labels.max()}, prepare takes labels up to 255: renumber them"
        )
    if merge is not None:
        table = np.zeros(256, dtype=np.uint8)
        for output, values in enumerate(merge.values(), start=1):
            table[list(values)] = output
        return table[labels]
    if known is not None:
        stray = [value for value in values_in(labels) if value not in known]
        if stray:
            raise CaseError("BAD_LABELS", f"the label map has {stray}, unknown to the dataset: name them by --label")
    return labels
