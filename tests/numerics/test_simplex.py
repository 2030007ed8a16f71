"""Volumes: the dual of soft ones, with intervals, and masks and labels that meet them to the pixel."""

from functools import partial
from itertools import pairwise

import pytest
import torch

from pipeline.numerics import simplex
from pipeline.numerics.simplex import (
    Bounds,
    margin_labels,
    sinkhorn_step,
    volume_bounds,
    volume_dual,
    volume_error,
    volume_mask,
)

PIXELS = 24 * 24
ENTROPIES = pytest.mark.parametrize("entropy", [1.0, 0.1, 0.02])
SHARES = pytest.mark.parametrize("shares", [(0.7, 0.3), (0.99, 0.01), (0.85, 0.1, 0.05), (0.05, 0.05, 0.3, 0.2, 0.4)])


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def with_dual(scores, bounds):
    dual = volume_dual(scores, bounds)
    return dual, (scores + dual[:, :, None, None]).softmax(dim=1)


def dual_value(scores, r, bounds):
    """g of (2), (B,)."""
    linear = (bounds.lo * r.clamp(min=0) - bounds.hi * (-r).clamp(min=0)).sum(dim=1)
    return linear - (scores + r[:, :, None, None]).logsumexp(dim=1).flatten(1).sum(dim=1)


@ENTROPIES
@SHARES
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_soft_volumes_are_met_in_few_steps(entropy, shares, dtype, monkeypatch):
    taken, newton = [], simplex._newton
    monkeypatch.setattr(simplex, "_newton", lambda *a: taken.append(1) or newton(*a))
    scores = noise(1, len(shares), 24, 24, dtype=dtype) / entropy
    bounds = volume_bounds(torch.tensor(shares, dtype=torch.float64) * PIXELS, None, scores)
    _, u = with_dual(scores, bounds)
    assert len(taken) <= 6 and volume_error(u, bounds) <= 1e-6


@ENTROPIES
@SHARES
def test_with_intervals_the_dual_meets_the_conditions_of_an_optimum(entropy, shares, monkeypatch):
    taken, newton = [], simplex._newton
    monkeypatch.setattr(simplex, "_newton", lambda *a: taken.append(1) or newton(*a))
    scores = noise(2, len(shares), 24, 24) / entropy
    volumes = torch.tensor(shares, dtype=torch.float64) * PIXELS
    bounds = volume_bounds(0.9 * volumes, 1.1 * volumes, scores)
    r, u = with_dual(scores, bounds)
    assert len(taken) <= 10 * len(scores)
    found, near = u.sum(dim=(2, 3)), 1e-6 * PIXELS
    assert ((found > bounds.lo - near) & (found < bounds.hi + near)).all()
    assert ((found - bounds.lo).abs() < near)[r > 1e-6].all() and ((found - bounds.hi).abs() < near)[r < -1e-6].all()


def test_the_primal_equals_the_dual():
    scores, volumes = noise(1, 3, 24, 24), torch.tensor([300.0, 200.0, 76.0])
    bounds = volume_bounds(volumes, None, scores)
    r, u = with_dual(scores, bounds)
    primal = (-scores * u + torch.xlogy(u, u)).sum()
    torch.testing.assert_close(primal, dual_value(scores, r, bounds)[0])


def test_a_volume_within_its_interval_is_left_alone():
    scores = noise(1, 2, 24, 24)
    natural = scores.softmax(dim=1).sum(dim=(2, 3))[0]
    assert (volume_dual(scores, volume_bounds(natural - 5, natural + 5, scores)) == 0).all()


def test_a_sinkhorn_step_never_lowers_the_dual_and_many_reach_it():
    scores, volumes = noise(1, 3, 24, 24) / 0.5, torch.tensor([400.0, 100.0, 76.0], dtype=torch.float64)
    bounds = volume_bounds(0.9 * volumes, 1.1 * volumes, scores)
    r, values = torch.zeros(1, 3, dtype=torch.float64), []
    for _ in range(300):
        values.append(dual_value(scores, r, bounds).item())
        r = sinkhorn_step(scores, r, bounds)
    assert min(b - a for a, b in pairwise(values)) >= -1e-9
    torch.testing.assert_close(r, volume_dual(scores, bounds), rtol=1e-5, atol=1e-5)


def test_each_sample_has_its_own_volumes_and_classes_may_be_permuted():
    scores, volumes = noise(2, 3, 24, 24), torch.tensor([[300.0, 200.0, 76.0], [76.0, 300.0, 200.0]])
    r = volume_dual(scores, volume_bounds(volumes, None, scores))
    alone = volume_dual(scores[1:, [2, 0, 1]], volume_bounds(volumes[1:, [2, 0, 1]], None, scores[1:]))
    torch.testing.assert_close(alone - alone.mean(), (r[1:] - r[1:].mean())[:, [2, 0, 1]])


def test_a_class_of_which_nothing_is_allowed_is_nowhere():
    scores = noise(1, 3, 24, 24)
    r, u = with_dual(scores, volume_bounds(torch.tensor([476.0, 0.0, 100.0]), None, scores))
    assert r[0, 1] == -torch.inf and (u[:, 1] == 0).all() and u[:, 2].sum().item() == pytest.approx(100)


@pytest.mark.parametrize("bounds", [((30.0, 6.0), None), ((0.0, 10.0), (36.0, 12.0)), ((16.0, 12.0, 8.0), None)])
def test_the_gradient_is_that_of_the_solution(bounds):
    lo, hi = (None if b is None else torch.tensor(b) for b in bounds)
    scores = noise(1, len(lo), 6, 6).requires_grad_()
    limits = volume_bounds(lo, hi, scores)
    assert torch.autograd.gradcheck(lambda z: (z + volume_dual(z, limits)[:, :, None, None]).softmax(dim=1), scores)


@pytest.mark.parametrize(
    ("lo", "hi", "message"),
    [
        ((1.0, 2.0, 3.0), None, r"must be \(C,\) or \(B, C\)"),
        ((500.0, 100.0), None, "cannot fill an image of 576"),
        ((0.0, 0.0), (100.0, 100.0), "leave the background free"),
        ((-1.0, 577.0), None, "must not be negative"),
        ((300.0, 0.0), (200.0, 576.0), "at_least must not exceed at_most"),
    ],
)
def test_bounds_without_a_segmentation_are_refused(lo, hi, message):
    with pytest.raises(ValueError, match=message):
        volume_bounds(torch.tensor(lo), None if hi is None else torch.tensor(hi), torch.zeros(1, 2, 24, 24))


def test_the_error_is_the_worst_class_outside_its_bounds():
    u = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1).expand(1, 2, 2, 4)  # volumes 2 and 6 of 8
    bounds = Bounds(torch.tensor([[3.0, 0.0]]), torch.tensor([[8.0, 4.0]]))
    assert volume_error(u, bounds).item() == pytest.approx(2 / 8)


def test_a_hard_volume_takes_the_largest_scores_and_of_equal_ones_the_first():
    scores = torch.tensor([[3.0, 1.0, 1.0], [1.0, -2.0, 0.5]])
    assert volume_mask(scores, 3).tolist() == [[True, True, True], [False, False, False]]
    assert volume_mask(scores, 0).sum() == 0 and volume_mask(scores, 6).all()


@pytest.mark.parametrize(("lo", "hi", "count"), [(0, 6, 5), (2, 3, 3), (6, 6, 6), (5, 5, 5)])
def test_a_hard_volume_moves_no_further_than_its_interval(lo, hi, count):
    scores = torch.tensor([[3.0, 1.0, 1.0], [1.0, -2.0, 0.5]])
    assert int(volume_mask(scores, lo, hi).sum()) == count


@pytest.mark.parametrize(("lo", "hi", "message"), [(3, 2, "must not be negative or exceed"), (5, 5, "4 are free")])
def test_a_hard_volume_that_cannot_be_had_is_refused(lo, hi, message):
    with pytest.raises(ValueError, match=message):
        volume_mask(torch.tensor([1.0, 2.0, 3.0, 4.0, -torch.inf]), lo, hi)


def test_labels_keep_volumes_of_several_classes_to_the_pixel():
    scores = noise(3, 20, 20)
    labels = margin_labels(scores, {2: partial(volume_mask, at_least=33), 1: partial(volume_mask, at_least=101)})
    assert labels.flatten().bincount().tolist() == [400 - 134, 101, 33]


def test_one_constrained_class_costs_the_least_score():
    scores = noise(3, 2, 3)
    labels = margin_labels(scores, {1: partial(volume_mask, at_least=3)})
    choices = torch.cartesian_prod(*[torch.arange(3)] * 6)
    totals = scores.flatten(1).T.expand(len(choices), 6, 3).gather(2, choices[..., None]).sum(dim=(1, 2))
    best = choices[totals.where((choices == 1).sum(dim=1) == 3, -torch.inf).argmax()]
    assert torch.equal(labels.flatten(), best)


def test_a_class_leaves_pixels_to_a_better_one_that_comes_after_it():
    scores = torch.tensor([[0.0, 0.0, 0.0], [5.0, 4.0, -1.0], [9.0, 0.0, -1.0]])
    one = partial(volume_mask, at_least=1)
    assert margin_labels(scores, {1: one, 2: one}).tolist() == [2, 1, 0]


def test_labels_without_a_free_class_are_refused():
    with pytest.raises(ValueError, match="leave one free"):
        margin_labels(noise(2, 4, 4), {0: volume_mask, 1: volume_mask})
