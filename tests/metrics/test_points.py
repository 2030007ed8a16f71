"""The nearest point is found wherever it lies: in a row close by, far off, among few and among many."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from pipeline.metrics import points
from pipeline.metrics.labels import compare_labels, evaluate_labels
from pipeline.metrics.maps import label_maps
from pipeline.metrics.points import Points, nearest_mm

SPACING = (3.0, 0.5, 2.0)


def scattered(random: np.random.Generator, n: int, low, high) -> Points:
    """At most n places in a box, in the order of memory."""
    return Points(np.unique(random.integers(low, high, (n, 3)), axis=0).astype(np.int32))


def test_the_nearest_of_scattered_points_is_that_of_all_pairs(way) -> None:
    for seed in range(12 if way == "interpreted" else 100):
        random = np.random.default_rng(seed)
        shape, spacing = random.integers(1, 200, 3), np.exp(random.uniform(-1, 2, 3))
        corner = random.integers(0, shape) * (seed % 3 > 0)  # a third fill the map, the others lie in a part of it
        of = scattered(random, random.integers(1, 60), 0, shape)
        to = scattered(random, random.choice([1, 2, 9, 33, 400]), corner, shape)
        maps = label_maps(np.zeros((1, 1, 1), np.uint8), np.zeros((1, 1, 1), np.uint8), spacing.tolist())
        expected = cdist(of.grid * spacing, to.grid * spacing).min(axis=1)
        assert nearest_mm(of, to, maps) == pytest.approx(expected, abs=1e-12), seed


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(60, 30, 40), (130, 170)])
def test_objects_far_apart_have_the_distances_of_all_pairs(way, order, shape) -> None:
    random = np.random.default_rng(0)
    spacing = SPACING[: len(shape)]
    prediction, reference = np.zeros(shape, np.uint8, order), np.zeros(shape, np.uint8, order)
    sparse = np.zeros(shape, bool)
    sparse[(slice(None, None, 2),) * len(shape)] = True  # no two voxels touch, so that all are surface
    sparse &= random.random(shape) < 0.3
    prediction[:20] = sparse[:20]
    reference[14:] = sparse[14:]  # a strip of both, the rest far off
    surfaces = compare_labels(prediction, reference, spacing).surfaces[1]
    apart = cdist(np.argwhere(reference) * spacing, np.argwhere(prediction) * spacing)
    assert np.sort(surfaces.distances_ref_to_pred_mm) == pytest.approx(np.sort(apart.min(axis=1)), abs=1e-12)
    assert np.sort(surfaces.distances_pred_to_ref_mm) == pytest.approx(np.sort(apart.min(axis=0)), abs=1e-12)


@pytest.mark.parametrize(("few", "many_rows"), [(0.001, 1024), (0.001, 1), (1e9, 1024)])
def test_points_that_are_far_are_found_in_more_rows_and_in_boxes(way, random_maps, monkeypatch, few, many_rows) -> None:
    prediction, reference = random_maps(0, (7, 8, 9))
    expected = evaluate_labels(prediction, reference, SPACING)
    monkeypatch.setattr(points, "ROWS", 1)
    monkeypatch.setattr(points, "FEW", few)
    monkeypatch.setattr(points, "MANY_ROWS", many_rows)
    assert evaluate_labels(prediction, reference, SPACING) == expected
