from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics.shapes import shapes


def test_a_rectangle_and_a_pixel_have_the_moments_of_the_plane():
    objects, intensity = np.zeros((12, 14), int), np.zeros((12, 14))
    objects[2:6, 3:12], intensity[2:6, 3:12] = 7, np.arange(9)
    objects[9, 1], intensity[9, 1] = 300, 5
    found = shapes(objects, intensity)
    assert found.labels.tolist() == [7, 300] and found.area_px.tolist() == [36, 1]
    np.testing.assert_allclose((found.centroid_x, found.centroid_y), [[7, 1], [3.5, 9]])
    np.testing.assert_allclose(found.eccentricity, [np.sqrt(1 - 4**2 / 9**2), 0])
    np.testing.assert_allclose(found.mean_intensity, [4, 5])


def test_objects_that_the_frame_may_cut_off_are_told():
    objects = np.zeros((6, 7), int)
    objects[0, 3], objects[5, 3], objects[2, 0], objects[2, 6], objects[1:5, 2:5] = 1, 2, 3, 4, 5
    assert shapes(objects, objects).touches_border.tolist() == [True] * 4 + [False]


def test_turning_the_map_turns_the_centroid_and_leaves_the_shape():
    objects = np.zeros((40, 40), np.uint16)
    y, x = np.ogrid[:40, :40]
    objects[(x + y - 40) ** 2 / 900 + (x - y) ** 2 / 100 < 1] = 1
    straight, turned = shapes(objects, objects), shapes(np.rot90(objects), objects)
    np.testing.assert_allclose(turned.eccentricity, straight.eccentricity, atol=1e-12)
    np.testing.assert_allclose(turned.centroid_x, straight.centroid_y)
    assert straight.eccentricity == pytest.approx(np.sqrt(1 - 1 / 9), abs=0.01)  # an ellipse of semiaxes 3 : 1


def test_no_object_gives_empty_columns_and_another_shape_is_refused():
    assert shapes(np.zeros((3, 4), int), np.zeros((3, 4))).eccentricity.shape == (0,)
    with pytest.raises(ValueError, match="alike"):
        shapes(np.zeros((3, 4), int), np.zeros((3, 5)))
