from __future__ import annotations

import numpy as np
import pytest

from pipeline.io.pixels import as_labels, rescale


@pytest.mark.parametrize(
    ("stored", "slope", "intercept", "dtype"),
    [
        (np.array([0, 4095], np.uint16), 1, -1024, np.int16),
        (np.array([0, 65535], np.uint16), 1, -1024, np.int32),
        (np.array([40000, 41000], np.uint16), 1, -32768, np.int16),
        (np.array([-128, 127], np.int8), 100, 0, np.int16),
        (np.array([0, 2**31], np.uint32), 4, 0, np.float32),
        (np.array([1, 2], np.int16), 0.5, 0, np.float32),
        (np.array([1, 2], np.float32), 2, 1, np.float32),
    ],
)
def test_rescaling_equals_exact_arithmetic_in_the_smallest_type(stored, slope, intercept, dtype):
    scaled = rescale(stored, float(slope), float(intercept))
    assert scaled.dtype == dtype
    assert scaled.tolist() == [value * slope + intercept for value in stored.tolist()]


def test_trivial_scaling_copies_nothing():
    stored = np.arange(3, dtype=np.int16)
    assert rescale(stored, 1.0, 0.0) is stored


@pytest.mark.parametrize(("top", "dtype"), [(0, np.uint8), (255, np.uint8), (256, np.uint16), (65536, np.uint32)])
def test_labels_take_the_smallest_type(top, dtype):
    assert as_labels(np.array([0, top])).dtype == dtype


def test_labels_of_eight_bits_are_not_copied():
    stored = np.array([0, 255], np.uint8)
    assert as_labels(stored) is stored


def test_masks_of_booleans_and_whole_floats_are_labels():
    assert as_labels(np.array([True, False])).tolist() == [1, 0]
    assert as_labels(np.array([2.0, 0.0])).tolist() == [2, 0]


@pytest.mark.parametrize("value", [-1, 0.5, np.nan, np.inf, -np.inf])
def test_what_is_no_label_is_refused(value):
    with pytest.raises(ValueError, match="labels must be whole numbers"):
        as_labels(np.array([0, 1, value]))
