"""The numbers that a list of scores is reduced to."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation.statistics import (
    MOST_EXACT,
    PairedDifference,
    agreement,
    describe,
    holm,
    paired,
    ranking,
    wilcoxon,
)

NAN, INF = float("nan"), float("inf")


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


def test_the_quartiles_are_interpolated() -> None:
    found = describe([4.0, 1.0, 3.0, 2.0])
    assert (found.q1, found.median, found.q3) == (1.75, 2.5, 3.25)


def test_an_infinite_score_leaves_median_and_quartiles() -> None:
    found = describe([1.0, 2.0, 3.0, 4.0, INF])
    assert (found.n, found.mean, found.q1, found.median, found.q3) == (5, INF, 2, 3, 4)
    assert math.isnan(found.sd)
    assert found.high == INF
    assert math.isnan(describe([-INF, INF]).median)


def test_the_interval_holds_the_true_mean_in_about_95_of_100_studies() -> None:
    studies = np.random.default_rng(3).normal(0.7, 0.1, (300, 40))
    held = [found.low <= 0.7 <= found.high for found in map(describe, studies)]
    # 40 cases: the percentile bootstrap holds about 94 %; three standard errors of 300 studies are 4 %
    assert np.mean(held) == pytest.approx(0.94, abs=0.04)


def test_a_constant_difference_has_an_interval_of_no_width() -> None:
    found = paired([0.75, 0.5, 1.0, 0.875, 0.25, 0.625], [0.5, 0.25, 0.75, 0.625, 0.0, 0.375])
    assert found == PairedDifference(6, 0, 6, 0, 0, 0.25, 0.25, 0.25, 0.25, pytest.approx(2 / 2**6))


def test_swapping_the_two_turns_the_signs_and_keeps_p() -> None:
    a, b = np.random.default_rng(2).normal(size=(2, 30))
    one, other = paired(a, b), paired(b, a)
    assert (one.mean, one.median, one.p) == pytest.approx((-other.mean, -other.median, other.p))
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)
    assert (one.higher, one.lower) == (other.lower, other.higher)


def test_a_pair_with_nan_is_left_out_and_counted() -> None:
    found = paired([0.5, NAN, 0.75, 1.0], [0.25, 1.0, NAN, 1.0])
    assert (found.n, found.left_out, found.higher, found.equal, found.lower) == (2, 2, 1, 1, 0)
    assert (found.mean, found.median) == (0.125, 0.125)


def test_two_infinite_distances_are_equal_and_one_is_the_largest_difference() -> None:
    found = paired([INF, INF, 1.0, 2.0, 3.0], [INF, 5.0, 2.0, 3.0, 4.0])
    assert (found.higher, found.equal, found.lower) == (1, 1, 3)
    assert (found.mean, found.median) == (INF, -1.0)
    assert found.p == wilcoxon([99.0, -1.0, -1.0, -1.0])
    assert math.isnan(paired([INF, 1.0], [1.0, INF]).mean)


def test_no_case_that_differs_is_p_1_and_no_pair_is_no_p() -> None:
    assert paired([0.5, 0.75], [0.5, 0.75]).p == 1
    assert math.isnan(paired([NAN], [0.5]).p)
    assert math.isnan(paired([], []).mean)


def test_one_pair_has_no_interval() -> None:
    found = paired([0.75], [0.5])
    assert (found.n, found.mean, found.p) == (1, 0.25, 1)
    assert math.isnan(found.low)


def test_lists_of_two_lengths_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="3 scores against 2"):
        paired([1, 2, 3], [1, 2])


@pytest.mark.parametrize("n", [1, 6, 25, 50, MOST_EXACT + 1])
def test_p_is_that_of_scipy_where_no_two_differences_have_one_size(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.2, 1, n)
    expected = stats.wilcoxon(differences, method="exact" if n <= MOST_EXACT else "approx").pvalue
    assert wilcoxon(differences) == pytest.approx(expected, rel=1e-9)


def test_p_with_ties_counts_every_choice_of_signs() -> None:
    sizes, signs = np.array([1.0, 1.0, 2.0, 2.0, 2.0, 3.0]), np.array([1, 1, 1, -1, 1, 1])
    ranks = np.array([1.5, 1.5, 4, 4, 4, 6])
    away = [abs((ranks * choice).sum()) for choice in product((-1, 1), repeat=6)]
    expected = np.mean(np.array(away) >= abs((ranks * signs).sum()))
    assert wilcoxon(sizes * signs) == pytest.approx(expected)
    assert wilcoxon([*(sizes * signs), 0.0, 0.0]) == wilcoxon(sizes * signs)


def test_the_exact_and_the_normal_p_meet_where_one_takes_over() -> None:
    differences = np.random.default_rng(5).normal(0.15, 1, MOST_EXACT)
    assert wilcoxon(differences) == pytest.approx(stats.wilcoxon(differences, method="approx").pvalue, rel=0.01)


def test_holm_by_hand() -> None:
    # ordered: 0.01 * 4, 0.02 * 3, 0.03 * 2 (0.06), 0.5 * 1
    assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])


def test_holm_never_falls_with_p_nor_exceeds_1() -> None:
    assert holm([0.4, 0.6, 0.5]) == [1, 1, 1]
    assert holm([0.02, 0.021]) == pytest.approx([0.04, 0.04])


def test_a_test_that_was_not_made_does_not_count_in_holm() -> None:
    first, second, third = holm([NAN, 0.01, 0.04])
    assert math.isnan(first)
    assert (second, third) == pytest.approx((0.02, 0.04))
    assert holm([]) == []


def test_a_method_that_is_worse_in_every_case_is_surely_last() -> None:
    best, middle = np.random.default_rng(4).uniform(0.5, 1, (2, 30))
    worst = np.minimum(best, middle) - 0.1
    found = ranking(np.column_stack([worst, best, middle]), higher_is_better=True)[0]
    assert (found.mean, found.low, found.high, found.first) == (3, 3, 3, 0)


def test_a_method_that_is_better_in_every_case_is_surely_first_whichever_way_is_better() -> None:
    distances = np.column_stack([np.arange(1.0, 9), np.arange(2.0, 10), np.full(8, INF)])
    assert [rank.mean for rank in ranking(distances, higher_is_better=False)] == [1, 2, 3]
    assert [rank.first for rank in ranking(distances, higher_is_better=True)] == [0, 0, 1]


def test_equal_methods_share_rank_and_first_place() -> None:
    scores = np.random.default_rng(6).uniform(size=20)
    found = ranking(np.column_stack([scores, scores, scores - 1]), higher_is_better=True)
    assert [rank.first for rank in found] == [0.5, 0.5, 0]
    assert [rank.mean for rank in found] == [1.5, 1.5, 3]


def test_a_case_that_a_method_has_no_score_for_is_not_ranked() -> None:
    scores = np.array([[0.9, 0.8], [0.7, NAN]])
    assert [rank.mean for rank in ranking(scores, higher_is_better=True)] == [1, 2]
    assert math.isnan(ranking(scores[1:], higher_is_better=True)[0].mean)


def test_the_limits_of_agreement_and_their_intervals_by_hand() -> None:
    # mean 2, SD sqrt((9 + 1 + 1 + 9) / 3), and 3.182446 holds 95 % of Student's t with 3 degrees of freedom
    found, sd, t = agreement([-1.0, 1.0, 3.0, 5.0]), math.sqrt(20 / 3), 3.182446
    assert (found.n, found.bias.value) == (4, 2)
    assert (found.lower.value, found.upper.value) == pytest.approx((2 - 1.96 * sd, 2 + 1.96 * sd))
    assert found.bias.high - 2 == pytest.approx(t * sd / 2)
    of_limit = t * sd * math.sqrt(1 / 4 + 1.96**2 / 6)
    assert found.lower.value - found.lower.low == pytest.approx(of_limit)
    assert found.upper.high - found.upper.value == pytest.approx(of_limit)


def test_one_difference_has_a_bias_only_and_none_has_nothing() -> None:
    assert agreement([3.0]).bias.value == 3
    assert math.isnan(agreement([3.0]).lower.value)
    assert math.isnan(agreement([]).bias.value)
