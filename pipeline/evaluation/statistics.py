"""What a list of scores says: mean, spread, median, and how far the mean could be from that of other cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 5000
SEED = 0


@dataclass(frozen=True)
class Description:
    """n scores that are not nan; low and high: the 95 % interval of the mean. nan where n is too small for it."""

    n: int
    mean: float
    sd: float
    median: float
    low: float
    high: float


def describe(scores: Sequence[float]) -> Description:
    """Describe one score a case, leaving out nan (n says how many are left).

    sd: of the sample (n - 1).  The interval is the bootstrap's percentile one over cases, seeded: the same scores give
    the same interval. It and sd need two scores.
    """
    values = np.asarray(scores, float)
    values = values[~np.isnan(values)]
    nan = float("nan")
    if values.size == 0:
        return Description(0, nan, nan, nan, nan, nan)
    mean, median = float(values.mean()), float(np.median(values))
    if values.size == 1:
        return Description(1, mean, nan, median, nan, nan)
    drawn = np.random.default_rng(SEED).integers(0, values.size, (RESAMPLES, values.size))
    low, high = np.percentile(values[drawn].mean(axis=1), (2.5, 97.5))
    return Description(values.size, mean, float(values.std(ddof=1)), median, float(low), float(high))
