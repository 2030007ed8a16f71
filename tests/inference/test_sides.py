"""Left and right on an image's own grid, whatever the order and direction of its axes."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.inference.sides import SIDE_UNSURE, Sides
from pipeline.io.volume import Volume

TELL = Sides(body_above=-120)


def patient(gap):
    """A body of 30 x 20 x 4 mm about x = 0, and an organ on each side that begins `gap` mm from its middle plane."""
    image, mask = np.full((40, 24, 4), -1000.0, np.float32), np.zeros((40, 24, 4), np.uint8)
    image[5:35, 2:22] = 30
    mask[20 - gap - 4 : 20 - gap, 8:14] = mask[20 + gap : 20 + gap + 4, 8:14] = 1
    affine = np.eye(4)
    affine[0, 3] = -19.5
    return Volume(image, affine), mask


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, 1, -1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_sides_are_the_patients_in_every_order_of_axes(order, flips):
    image, mask = patient(11)
    expected = mask * np.where(np.arange(40) < 20, 1, 2)[:, None, None].astype(np.uint8)
    affine, views = image.affine.copy(), [image.array, mask, expected]
    for axis, flip in enumerate(flips):
        if flip < 0:
            affine[:3, 3] += affine[:3, axis] * (mask.shape[axis] - 1)
            affine[:3, axis] *= -1
            views = [np.flip(view, axis) for view in views]
    affine[:, :3] = affine[:, list(order)]
    array, labels, expected = (np.ascontiguousarray(view.transpose(order)) for view in views)
    result = Volume(labels, affine)
    assert TELL(Volume(array, affine), result) == ()
    assert np.array_equal(result.array, expected)


def test_what_lies_near_the_plane_is_flagged():
    image, mask = patient(9)
    assert TELL(image, Volume(mask, image.affine)) == (SIDE_UNSURE,)  # 9.5 mm of the 10 that are asked for
    assert TELL(image, Volume(np.zeros_like(mask), image.affine)) == ()
