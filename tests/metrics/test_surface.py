"""The sums over surface distances, on distances that one can add up by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics.surface import (
    SurfaceDistances,
    average_symmetric_distance,
    boundary_f1,
    hausdorff,
    hausdorff_pooled,
    mean_average_distance,
    surface_dice,
)

ALIKE = SurfaceDistances(np.array([0.0, 1.0, 2.0, 3.0]), np.array([4.0, 0.0]))
WEIGHTED = SurfaceDistances(
    np.array([3.0, 1.0, 2.0]), np.array([0.0, 5.0]), weights_ref=np.array([1.0, 5.0, 4.0]), weights_pred=np.ones(2)
)


def test_the_hausdorff_distance_is_the_largest_of_both_directions() -> None:
    assert hausdorff(ALIKE) == 4
    assert hausdorff(SurfaceDistances(ALIKE.distances_pred_to_ref_mm, ALIKE.distances_ref_to_pred_mm)) == 4


def test_percentiles_are_interpolated_and_directed_or_pooled() -> None:
    assert hausdorff(ALIKE, 50) == max((1 + 2) / 2, (0 + 4) / 2)
    assert hausdorff_pooled(ALIKE, 50) == (1 + 2) / 2  # of 0 0 1 2 3 4
    assert hausdorff_pooled(ALIKE, 95) == pytest.approx(3 + 0.95 * 5 - 4)


def test_a_weighted_percentile_is_the_least_distance_that_its_share_of_the_area_reaches() -> None:
    assert hausdorff(WEIGHTED, 50) == 1  # 5 of 10 mm² lie within 1 mm; of the other direction 1 of 2 within 0 mm
    assert hausdorff(WEIGHTED, 51) == 5
    assert hausdorff_pooled(WEIGHTED, 83) == 2  # 1 + 5 + 4 of 12 mm² lie within 2 mm
    assert hausdorff_pooled(WEIGHTED, 84) == 3


def test_weighted_percentiles_are_those_of_the_whole_sorted_list() -> None:
    random = np.random.default_rng(0)
    weights = random.random(200)
    for distances in (np.floor(random.exponential(3, 200)), 7 + random.random(200) / 1e4, np.full(200, 2.0)):
        weights[distances > 4] *= 30  # much area far away: the median lies among the far points
        order = np.argsort(distances)
        for percent in (0, 5, 50, 95, 99.9):
            index = np.searchsorted(np.cumsum(weights[order]), percent / 100 * weights.sum())
            surfaces = SurfaceDistances(distances, np.zeros(1), weights, np.ones(1))
            assert hausdorff(surfaces, percent) == distances[order][index], percent


def test_averages_pool_the_points_or_the_directions() -> None:
    assert average_symmetric_distance(ALIKE) == 10 / 6
    assert mean_average_distance(ALIKE) == (6 / 4 + 4 / 2) / 2
    assert average_symmetric_distance(WEIGHTED) == (3 + 5 + 8 + 0 + 5) / 12
    assert mean_average_distance(WEIGHTED) == (16 / 10 + 5 / 2) / 2


def test_the_share_within_a_tolerance_includes_it() -> None:
    assert surface_dice(ALIKE, 1) == 3 / 6
    assert surface_dice(WEIGHTED, 1) == (5 + 1) / 12
    tenths = SurfaceDistances(np.array([3 * 0.1]), np.array([0.3]))
    assert 3 * 0.1 > 0.3
    assert surface_dice(tenths, 0.3) == 1


def test_boundary_f1_is_the_harmonic_mean_of_the_two_shares() -> None:
    recall, precision = 2 / 4, 1 / 2
    assert boundary_f1(ALIKE, 1) == 2 * precision * recall / (precision + recall)
    assert boundary_f1(SurfaceDistances(np.array([2.0]), np.array([3.0])), 1) == 0
