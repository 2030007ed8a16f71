"""What lists of scores say: mean, spread, how far the mean could be from that of other cases, which of two is better.

A score is that of one case (a patient). Intervals resample cases, never voxels or slices: those of one patient are
alike, and an interval over them is too narrow. All is seeded: the same scores give the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 5000
SEED = 0
BLOCK = 250  # resamples in work at a time, so that thousands of cases need little memory
MOST_EXACT = 200  # differences for which the distribution of Wilcoxon's sum is counted; the normal one is used beyond
NAN = float("nan")

Scores = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True)
class Description:
    """n scores that are not nan; q1, q3: the quartiles; low, high: the 95 % interval of the mean.

    nan where n is too small for it, or where infinite scores leave it undefined.
    """

    n: int
    mean: float
    sd: float
    median: float
    q1: float
    q3: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """Scores a minus scores b of the same cases.

    n: pairs without nan; left_out: those with. higher, equal, lower: the cases in which a is so beside b.
    mean, median: of the differences; low, high: the 95 % bootstrap interval of the mean.
    p: Wilcoxon's signed-rank test, two-sided.
    """

    n: int
    left_out: int
    higher: int
    equal: int
    lower: int
    mean: float
    low: float
    high: float
    median: float
    p: float


@dataclass(frozen=True)
class Rank:
    """Where a method stands among others: its rank in a case (1 is best; equal scores share theirs), averaged.

    low, high: the 95 % bootstrap interval of the mean rank. first: the share of resamples in which no other method has
    a lower mean rank; k methods that are equal there have 1 / k each.
    """

    mean: float
    low: float
    high: float
    first: float


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """Bland and Altman's: the mean difference, and the limits that hold 95 % of differences if they are normal."""

    n: int
    bias: Estimate
    lower: Estimate
    upper: Estimate


def describe(scores: Scores) -> Description:
    """Describe one score a case, leaving out nan (n says how many are left).

    sd: of the sample (n - 1). The interval is the bootstrap's percentile one. It and sd need two scores. An infinite
    score makes the mean infinite and sd nan; median and quartiles remain.
    """
    values = np.asarray(scores, float)
    values = values[~np.isnan(values)]
    if values.size == 0:
        return Description(0, *(NAN,) * 7)
    q1, median, q3 = (_quantile(values, q) for q in (0.25, 0.5, 0.75))
    if values.size == 1:
        return Description(1, float(values[0]), NAN, median, q1, q3, NAN, NAN)
    sd = float(values.std(ddof=1)) if np.isfinite(values).all() else NAN
    return Description(values.size, _mean(values), sd, median, q1, q3, *_interval(values))


def paired(a: Scores, b: Scores) -> PairedDifference:
    """Compare two lists of scores case by case: a[i] and b[i] are of one case.

    Pairs with a nan on either side are left out and counted. Two infinite scores of one sign are equal. One infinite
    score is the largest of differences for median and p; the mean is infinite then, and nan where both signs occur.
    p is 1 where no case differs and nan without a pair. ValueError: lists of two lengths.
    """
    first, second = np.asarray(a, float), np.asarray(b, float)
    if first.shape != second.shape:
        raise ValueError(f"{first.size} scores against {second.size}: a pair needs one of each for every case")
    both = ~(np.isnan(first) | np.isnan(second))
    first, second = first[both], second[both]
    differs = first != second
    differences = np.subtract(first, second, out=np.zeros(first.size), where=differs)
    higher, n = int((differences > 0).sum()), first.size
    counts = (n, int((~both).sum()), higher, int((~differs).sum()), int(differs.sum()) - higher)
    if n == 0:
        return PairedDifference(*counts, *(NAN,) * 5)
    low, high = _interval(differences) if n > 1 else (NAN, NAN)
    return PairedDifference(*counts, _mean(differences), low, high, _quantile(differences, 0.5), wilcoxon(differences))


def wilcoxon(differences: Scores) -> float:
    """The two-sided p of Wilcoxon's signed-rank test: how easily chance gives signs as one-sided as these.

    Zeros say nothing and are dropped (Wilcoxon's own way), equal sizes share their ranks. Up to MOST_EXACT differences
    p is exact, with ties too: the normal approximation calls five ties of one sign significant (0.025; exact: 0.0625).
    1 if all are zero.
    """
    values = np.asarray(differences, float)
    values = values[values != 0]
    n = values.size
    if n == 0:
        return 1.0
    doubled = _doubled_ranks(np.abs(values))
    positive = int(doubled[values > 0].sum())
    if n > MOST_EXACT:
        from scipy.special import ndtr  # scipy.stats takes a second to import

        # E and Var of a sum of ranks that are each in with probability 1/2 (ties are in the ranks already)
        distance = abs(positive - doubled.sum() / 2) / np.sqrt((doubled.astype(float) ** 2).sum() / 4)
        return float(2 * ndtr(-distance))
    chance = np.zeros(doubled.sum() + 1)  # of each sum of doubled ranks
    chance[0] = 1
    for rank in doubled:
        chance[rank:] = (chance[rank:] + chance[: chance.size - rank]) / 2
        chance[:rank] /= 2
    smaller = min(positive, chance.size - 1 - positive)  # the distribution is symmetric
    return min(1.0, float(2 * chance[: smaller + 1].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p as it counts among all of them (Holm 1979): below 0.05 means significant, whichever hypotheses are true.

    The smallest is multiplied by their number m, the next by m - 1 and so on; none is below one before it, nor above
    1. nan (no test was made) stays nan and is not counted.
    """
    given = np.asarray(p_values, float)
    order = np.argsort(given, kind="stable")[: int((~np.isnan(given)).sum())]  # nan comes last
    steps = given[order] * np.arange(order.size, 0, -1)
    adjusted = np.full(given.size, NAN)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()


def ranking(scores: NDArray[np.float64], *, higher_is_better: bool) -> list[Rank]:
    """How surely each method is the best.

    scores: (cases, methods); a case in which any method has nan is left out. All nan without a case.
    """
    complete = scores[~np.isnan(scores).any(axis=1)]
    if len(complete) == 0:
        return [Rank(*(NAN,) * 4)] * scores.shape[1]
    ranks = np.array([_doubled_ranks(-case if higher_is_better else case) for case in complete]) / 2
    drawn = np.column_stack([_resampled_means(each) for each in ranks.T])
    leads = drawn <= drawn.min(axis=1, keepdims=True) + 1e-9  # sums of halves, divided: equal but for rounding
    first = (leads / leads.sum(axis=1, keepdims=True)).mean(axis=0)
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    return [Rank(*map(float, each)) for each in zip(ranks.mean(axis=0), low, high, first, strict=True)]


def agreement(differences: Scores) -> Agreement:
    """The bias and the limits of agreement, bias -/+ 1.96 SD, of finite differences prediction - reference.

    Their intervals are those of Bland and Altman (1999): Student's t times SD / sqrt(n) for the bias, times
    SD sqrt(1 / n + 1.96^2 / (2 (n - 1))) for a limit. nan below two differences, save for the bias of one.
    """
    from scipy.special import stdtrit

    values = np.asarray(differences, float)
    n = values.size
    bias = float(values.mean()) if n else NAN
    if n < 2:
        unknown = Estimate(NAN, NAN, NAN)
        return Agreement(n, Estimate(bias, NAN, NAN), unknown, unknown)
    sd, t = float(values.std(ddof=1)), float(stdtrit(n - 1, 0.975))
    of_bias = t * sd / np.sqrt(n)
    of_limit = t * sd * np.sqrt(1 / n + 1.96**2 / (2 * (n - 1)))
    centres = ((bias - 1.96 * sd, of_limit), (bias, of_bias), (bias + 1.96 * sd, of_limit))
    lower, middle, upper = (Estimate(value, float(value - half), float(value + half)) for value, half in centres)
    return Agreement(n, middle, lower, upper)


def _doubled_ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Twice the rank of each value from the least on; equal values share the mean of theirs, so halves occur."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (2 * last - counts + 1)[place]


def _mean(values: NDArray[np.float64]) -> float:
    if np.isposinf(values).any() and np.isneginf(values).any():
        return NAN
    return float(values.mean())


def _quantile(values: NDArray[np.float64], q: float) -> float:
    """The linearly interpolated quantile; between -inf and inf there is none: nan."""
    ordered = np.sort(values)
    place = q * (values.size - 1)
    below, above = ordered[int(place)], ordered[min(int(place) + 1, values.size - 1)]
    share = place - int(place)
    if below == above or share == 0:
        return float(below)
    if np.isinf(below) and np.isinf(above):
        return NAN
    return float(below * (1 - share) + above * share)


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the mean of resamples; nan where infinite values leave the mean undefined."""
    means = _resampled_means(values)
    if np.isnan(means).any():
        return NAN, NAN
    return _quantile(means, 0.025), _quantile(means, 0.975)


def _resampled_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each of RESAMPLES draws with replacement: (RESAMPLES,)."""
    counts = _draw_counts(values.size)
    blocks = [counts[start : start + BLOCK].astype(float) for start in range(0, RESAMPLES, BLOCK)]
    finite = np.where(np.isfinite(values), values, 0)
    means = np.concatenate([block @ finite for block in blocks]) / values.size
    for infinity in (np.inf, -np.inf):
        with np.errstate(invalid="ignore"):  # inf - inf: nan, which is what that mean is
            means[counts[:, values == infinity].any(axis=1)] += infinity
    return means


@lru_cache(maxsize=8)
def _draw_counts(n: int) -> NDArray[np.uint8]:
    """How often each of n cases is in each resample: (RESAMPLES, n), once for all scores of a folder."""
    random = np.random.default_rng(SEED)
    counts = np.empty((RESAMPLES, n), np.uint8)
    for start in range(0, RESAMPLES, BLOCK):
        drawn = random.integers(0, n, (BLOCK, n)) + n * np.arange(BLOCK)[:, None]
        counts[start : start + BLOCK] = np.bincount(drawn.ravel(), minlength=BLOCK * n).reshape(BLOCK, n)
    return counts
