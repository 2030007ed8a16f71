r"""Mean shift of numbers on a line, exact: which mode each value climbs to, without climbing.

    x <- sum_j v_j K(x - v_j) / sum_j K(x - v_j),   K(u) = exp(-u^2 / (2 sigma^2))                          (1)

climbs the density p(x) = sum_j K(x - v_j), and on a line it never passes a stationary point: for x below y the image of
x stays below that of y. So the values that end in one mode are those between two minima of p, and to find where p'
turns from - to + is to know where every iteration (1) ends. p' is computed at the edges of a histogram with bins of
sigma / 8, by one convolution; that its values are taken to lie at a bin's centre widens K by the variance of a uniform
distribution, which is taken off sigma beforehand (Sheppard's correction). The zeros, few, are then found by Newton's
method with each bin's first two moments: what is left is far below the distance between two of 1e5 values.

A bandwidth h is the support of K, sigma = h / 3. Two equal clusters of spread s at distance 1 remain two where s^2 +
sigma^2 < 1/4: s below 0.40 for h = 0.9, below 0.48 for 0.4. Read as the radius of a flat kernel, 0.9 would merge them.

Reference: Comaniciu and Meer, Mean shift, IEEE TPAMI 24 (2002). That no iteration overtakes another: the map of (1) has
the slope var / sigma^2 >= 0, var that of the values under the weights K.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

BINS_PER_SIGMA = 8
BLOCK = 64  # bins
NEWTON_STEPS = 20  # at most: 3 as a rule, 8 where p is nearly flat
SETTLED = 1e-9  # bins
REACH = 6  # sigmas beyond which K is nothing: 1e5 values there weigh less than one here


def mean_shift(
    values: NDArray[np.floating], groups: NDArray[np.integer] | None = None, *, bandwidth: float
) -> NDArray[np.int32]:
    """(N,) for each value the number of its mode, from 0 by ascending value; of each group apart, if there are groups.

    groups: (N,) whole numbers from 0. Values of a group that lie within sigma have one mode, always.
    ValueError: a bandwidth that is not positive, or values that are not finite.
    """
    if bandwidth <= 0:
        raise ValueError(f"bandwidth is {bandwidth}, it must be positive")
    if not np.isfinite(values).all():
        raise ValueError("values has numbers that are not finite: they climb nowhere")
    modes = np.zeros(len(values), np.int32)
    if not len(values):
        return modes
    groups = np.zeros(len(values), np.intp) if groups is None else groups
    sigma = bandwidth / 3
    low, high = _ranges(values, groups)
    wide = high - low > sigma  # the others: p is a sum of functions that are concave there
    if not wide.any():
        return modes
    there = slice(None) if wide.all() else np.flatnonzero(wide[groups])
    row = (np.cumsum(wide) - 1)[groups[there]]
    place = (values[there] - low[groups[there]]) * values.dtype.type(BINS_PER_SIGMA / sigma)  # in bins
    bin = place.astype(np.intp)
    width = int(bin.max()) + 1
    index = row * width + bin
    away = place - bin - 0.5
    weights = (np.ones_like(away), away, away * away)
    counted = [np.bincount(index, each, int(wide.sum()) * width) for each in weights]
    before, cut = _cuts(np.stack(counted).astype(np.float64, copy=False).reshape(3, -1, width))
    modes[there] = before.ravel()[index] + (place > cut.ravel()[index])
    return modes


def _ranges(values: NDArray[np.floating], groups: NDArray[np.integer]) -> tuple[NDArray, NDArray]:
    """Least and greatest value of each group."""
    low = np.full(int(groups.max()) + 1, np.inf, values.dtype)
    high = -low
    np.minimum.at(low, groups, values)
    np.maximum.at(high, groups, values)
    return low, high


def _cuts(moments: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Of histograms (3, rows, bins): how many minima p has below each bin, and where the bin has one (in bins), or inf.

    moments: number, sum and sum of squares of the values' distances from their bin's centre.
    """
    slope = _slope(moments[0])
    last = np.maximum.accumulate(np.where(slope != 0, np.arange(slope.shape[1]), 0), axis=1)
    sign = np.take_along_axis(np.sign(slope), last, axis=1)  # between clusters too far to pull: as before
    rows, bins = np.nonzero((sign[:, :-1] < 0) & (sign[:, 1:] > 0))
    left, right = slope[rows, bins], slope[rows, bins + 1]
    found = _refined(bins + left / (left - right), rows, moments)
    cut = np.full(moments.shape[1:], np.inf)
    cut[rows, found.astype(np.intp)] = found
    before = np.cumsum(np.isfinite(cut), axis=1, dtype=np.int32) - np.isfinite(cut)
    return before, cut


def _slope(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rows, bins + 1): p' at the edges of the bins, exactly 0 where nothing pulls; a convolution, block by block."""
    half, width = REACH * BINS_PER_SIGMA, counts.shape[1] + 1
    offset = np.arange(BLOCK + 2 * half)[:, None] - half + 0.5 - np.arange(BLOCK)  # from an edge to the bins' centres
    pull = np.where(abs(offset) < half, offset * np.exp(-(offset**2) / (2 * (BINS_PER_SIGMA**2 - 1 / 12))), 0)
    blocks = -(-width // BLOCK)
    padded = np.pad(counts, ((0, 0), (half, half + blocks * BLOCK - width + 1)))
    return (sliding_window_view(padded, len(pull), axis=1)[:, ::BLOCK] @ pull).reshape(len(counts), -1)[:, :width]


def _refined(cut: NDArray[np.float64], rows: NDArray[np.intp], moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zeros of p' by Newton's method from zeros by a line; each bin's values by Taylor's formula about its centre."""
    half = REACH * BINS_PER_SIGMA
    width = moments.shape[2]
    near = cut.astype(np.intp)[:, None] + np.arange(-half, half + 1)
    inside = (near >= 0) & (near < width)
    number, first, second = moments[:, rows[:, None], near.clip(0, width - 1)] * inside
    variance = BINS_PER_SIGMA**2
    for _ in range(NEWTON_STEPS):
        d = near + 0.5 - cut[:, None]
        far = d * d / variance
        kernel = np.exp(-far / 2)
        g, g1, g2 = d, 1 - far, d * (far - 3) / variance  # d K and its derivatives, over K
        slope = ((number * g + first * g1 + second * g2 / 2) * kernel).sum(axis=1)
        bend = -((number * g1 + first * g2) * kernel).sum(axis=1)
        # At a minimum p bends up; between clusters too far to pull any place is one
        step = np.divide(slope, bend, out=np.zeros_like(cut), where=bend > 0).clip(-0.5, 0.5)
        cut = cut - step
        if (abs(step) < SETTLED).all():
            break
    return cut.clip(0, width - 0.5)
