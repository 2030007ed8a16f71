"""The partition of a mean shift that is never iterated is that of the iteration, to the last value."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.numerics import modes
from pipeline.numerics.modes import mean_shift

LEVELS = np.array([2.0, 3.0, 4.0, 5.0, 6.5])


def clusters(spread, n=20_000, seed=0):
    draw = np.random.default_rng(seed)
    which = draw.integers(len(LEVELS), size=n)
    return LEVELS[which] + draw.normal(0, spread, n), which


def climbed(x, values, bandwidth):
    """Where equation (1) of the module takes x."""
    for _ in range(2000):
        weights = np.exp(-((x - values) ** 2) / (2 * (bandwidth / 3) ** 2))
        further = weights @ values / weights.sum()
        if abs(further - x) < 1e-10:
            break
        x = further
    return x


@pytest.mark.parametrize("bandwidth", [0.9, 0.4])
@pytest.mark.parametrize("spread", [0.2, 0.3])
def test_the_partition_of_1e5_values_is_that_of_pointwise_iteration(bandwidth, spread):
    """The iteration keeps the order, so it is enough to follow the two values on either side of each cut."""
    values = np.sort(clusters(spread, n=100_000)[0])
    found = mean_shift(values, bandwidth=bandwidth)
    assert found[-1] == 4
    for last in np.flatnonzero(np.diff(found)):
        below, above = (climbed(values[i], values, bandwidth) for i in (last, last + 1))
        assert above - below > 0.8  # two modes
        assert abs(climbed(LEVELS[found[last]], values, bandwidth) - below) < 1e-4  # and no third between the levels


@pytest.mark.parametrize("bandwidth", [0.9, 0.4])
def test_modes_are_recovered_at_the_stated_spread(bandwidth):
    values, which = clusters(0.2)
    assert (mean_shift(values, bandwidth=bandwidth) == which).mean() > 0.97  # beyond, the clusters overlap


@pytest.mark.parametrize(("bandwidth", "spread", "count"), [(0.9, 0.36, 2), (0.9, 0.45, 1), (0.4, 0.45, 2)])
def test_two_clusters_at_distance_1_merge_where_their_spread_and_the_kernel_s_reach_a_half(bandwidth, spread, count):
    # No noise: quantiles of the normal distribution
    quantiles = np.interp(np.linspace(0.0005, 0.9995, 2000), *_normal_distribution())
    values = np.concatenate([2 + spread * quantiles, 3 + spread * quantiles])
    assert mean_shift(values, bandwidth=bandwidth).max() + 1 == count


def _normal_distribution():
    x = np.linspace(-5, 5, 2001)
    density = np.exp(-(x**2) / 2)
    return np.cumsum(density) / density.sum(), x


def test_cuts_are_settled_also_where_the_density_is_nearly_flat(monkeypatch):
    draw, scenes = np.random.default_rng(0), []
    for _ in range(11):  # five of Newton's steps leave values of the first and the last on the wrong side
        n, kinds = draw.integers(1, 4000), draw.integers(1, 30)
        levels = draw.integers(0, draw.integers(2, 40), n) * draw.uniform(0.3, 1.2)
        values = (levels + draw.normal(0, draw.uniform(0.02, 0.3), n)).astype(np.float32)
        scenes.append((values, np.unique(draw.integers(0, kinds, n), return_inverse=True)[1]))
    for bandwidth in (0.9, 0.4):
        found = [mean_shift(*scene, bandwidth=bandwidth) for scene in scenes]
        with monkeypatch.context() as patched:
            patched.setattr(modes, "NEWTON_STEPS", 60)
            patched.setattr(modes, "SETTLED", 0.0)
            for partition, scene in zip(found, scenes, strict=True):
                np.testing.assert_array_equal(partition, mean_shift(*scene, bandwidth=bandwidth))


def test_groups_are_shifted_each_by_itself():
    first, second = clusters(0.2, n=3000, seed=1)[0], clusters(0.2, n=2000, seed=2)[0] + 0.37
    groups = np.repeat([0, 1], [3000, 2000])
    order = np.random.default_rng(0).permutation(5000)
    together = mean_shift(np.concatenate([first, second])[order], groups[order], bandwidth=0.9)
    apart = np.concatenate([mean_shift(each, bandwidth=0.9) for each in (first, second)])
    np.testing.assert_array_equal(together, apart[order])


def test_clusters_too_far_apart_to_pull_and_constant_values():
    np.testing.assert_array_equal(mean_shift(np.array([2.0, 900.0, 2.0, 450.0]), bandwidth=0.4), [0, 2, 0, 1])
    np.testing.assert_array_equal(mean_shift(np.full(5, 3.3), bandwidth=0.4), np.zeros(5))
    assert mean_shift(np.zeros(0), bandwidth=0.4).shape == (0,)


def test_what_cannot_be_shifted_is_refused():
    with pytest.raises(ValueError, match="bandwidth is 0"):
        mean_shift(np.zeros(3), bandwidth=0)
    with pytest.raises(ValueError, match="not finite"):
        mean_shift(np.array([1.0, np.nan]), bandwidth=1)
