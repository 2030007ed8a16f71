"""Voxel values: rescaling without losing integers, finite values, and labels in the smallest type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CaseError


def rescale(array: NDArray, slope: float, intercept: float) -> NDArray:
    """slope * array + intercept: int16 or int32 when all is whole and fits, else float32; memory order is kept."""
    if slope == 1 and intercept == 0:
        return array
    dtype = _whole_type(array, slope, intercept)
    if dtype is None:
        scaled = array.astype(np.float32)
        scaled *= np.float32(slope)
        scaled += np.float32(intercept)
        return scaled
    # Integers wrap around: the intermediate values may overflow, the result (which fits) is exact all the same.
    scaled = array.astype(dtype)
    scaled *= np.int64(slope).astype(dtype)
    scaled += np.int64(intercept).astype(dtype)
    return scaled


def _whole_type(array: NDArray, slope: float, intercept: float) -> type[np.signedinteger] | None:
    if array.dtype.kind not in "iu" or not array.size or not (slope.is_integer() and intercept.is_integer()):
        return None
    ends = [int(end) * int(slope) + int(intercept) for end in (array.min(), array.max())]
    numbers = [*ends, int(slope), int(intercept)]
    for dtype in (np.int16, np.int32):
        if np.iinfo(dtype).min <= min(numbers) and max(numbers) <= np.iinfo(dtype).max:
            return dtype
    return None


def check_finite(array: NDArray, path: Path) -> None:
    """CaseError NON_FINITE with the number of NaN or infinite values."""
    # min and max carry them, and need no mask as large as the scan.
    if array.dtype.kind != "f" or not array.size or (np.isfinite(array.min()) and np.isfinite(array.max())):
        return
    count = array.size - np.count_nonzero(np.isfinite(array))
    message = f"{path} has {count} NaN or infinite voxels: fill them (air is -1000 HU in CT) and try again"
    raise CaseError("NON_FINITE", message)


def as_labels(array: NDArray) -> NDArray[np.unsignedinteger]:
    """Whole non-negative labels as uint8, or uint16 (uint32) when a label is above 255 (65535); uint8 is not copied.

    ValueError for negative, fractional, infinite and NaN values: those are no labels.
    """
    if array.dtype == np.uint8:
        return array
    low, top = array.min(initial=0), array.max(initial=0)
    if not (low >= 0 and np.isfinite(top)):  # nan is not >= 0 either
        raise ValueError(f"labels must be whole numbers from 0 on, but they run from {low} to {top}")
    labels = array.astype(np.min_scalar_type(int(top)))
    if array.dtype.kind == "f" and not np.array_equal(labels, array):
        raise ValueError("labels must be whole numbers, but some are fractions: take the argmax or a threshold first")
    return labels


def has_grey_levels(mask: NDArray) -> bool:
    """Whether a mask of shares, 0..1, leaves open what the object is: a fifth of what lies above 0.1 is not above 0.9.

    Soft edges of one or two pixels are no grey levels of an object of some size; an empty mask has none.
    """
    sure, possible = (np.count_nonzero(mask > level) for level in (0.9, 0.1))
    return bool(sure < 0.8 * possible)
