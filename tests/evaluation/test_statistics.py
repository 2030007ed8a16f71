"""The numbers that a list of scores is reduced to."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.evaluation.statistics import describe


def test_mean_spread_and_median_are_those_of_the_sample() -> None:
    found = describe([0.0, 0.5, 1.0, 0.9])
    assert (found.n, found.mean, found.median) == (4, 0.6, 0.7)
    assert found.sd == pytest.approx(math.sqrt((0.36 + 0.01 + 0.16 + 0.09) / 3))


def test_the_interval_is_near_that_of_the_normal_distribution() -> None:
    scores = np.random.default_rng(1).normal(0.8, 0.1, 200)
    found = describe(scores)
    half = 1.96 * scores.std(ddof=1) / math.sqrt(200)
    assert (found.low, found.high) == pytest.approx((scores.mean() - half, scores.mean() + half), abs=0.1 * half)


def test_the_same_scores_have_the_same_interval() -> None:
    assert describe([0.1, 0.7, 0.8]) == describe([0.1, 0.7, 0.8])


def test_nan_is_left_out_of_all() -> None:
    assert describe([0.5, float("nan"), 0.7]) == describe([0.5, 0.7])


def test_equal_scores_have_an_interval_of_no_width() -> None:
    found = describe([0.75] * 5)
    assert (found.low, found.high, found.sd) == (0.75, 0.75, 0.0)


def test_one_score_has_no_spread_and_none_has_no_mean() -> None:
    one = describe([0.5])
    assert (one.n, one.mean) == (1, 0.5)
    assert math.isnan(one.low)
    assert math.isnan(one.sd)
    assert describe([]).n == 0
    assert math.isnan(describe([]).mean)
