"""What the four terms promise: no loss for a perfect map, objects known by their sameness alone, pairs as defined."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch

from pipeline.losses.dvis import (
    BalancedPairs,
    Different,
    DVISLoss,
    Logistic,
    StratifiedPairs,
    UniformPairs,
    binary_loss,
    inner,
    mumford_shah_loss,
    pair_loss,
    quantisation_loss,
    seams,
)

SAMPLERS = [StratifiedPairs(), StratifiedPairs(window=5, dense=2, dilation=2), BalancedPairs(pixels=64), UniformPairs()]
by_name = pytest.mark.parametrize("pairs", SAMPLERS, ids=lambda pairs: type(pairs).__name__)


def scene(size=12):
    """Three objects, two of which touch, in (2, 1, size, size); the second image is empty."""
    labels = torch.zeros(2, 1, size, size)
    labels[0, 0, 1:5, 1:5] = 7
    labels[0, 0, 1:5, 5:9] = 300
    labels[0, 0, 7:11, 2:6] = 2
    return labels


def perfect(labels):
    f = torch.full_like(labels, -0.7)
    for value, id in enumerate(labels[labels > 0].unique(), start=2):
        f[labels == id] = value
    return f


def imperfect(labels, seed=0):
    noise = torch.randn(labels.shape, generator=torch.Generator().manual_seed(seed))
    return perfect(labels) + 0.6 * noise


@by_name
def test_a_perfect_map_has_no_loss_but_the_price_of_its_contours(pairs):
    labels = scene()
    f = perfect(labels)
    assert pair_loss(f, labels, pairs=pairs) == 0
    assert binary_loss(f, labels) == 0 and quantisation_loss(f, labels) == 0
    assert DVISLoss(pairs=pairs, mumford_shah=0.1)(f, labels) == 0.1 * mumford_shah_loss(f) > 0


@by_name
def test_other_numbers_for_the_objects_change_no_bit_of_the_loss(pairs):
    labels = scene()
    renamed = torch.zeros_like(labels)
    for old, new in ((7, 2), (300, 41), (2, 7)):
        renamed[labels == old] = new
    losses = []
    for each in (labels, renamed):
        torch.manual_seed(0)
        losses.append(DVISLoss(pairs=StratifiedPairs(window=9, dense=3, dilation=2))(imperfect(labels), each))
    assert torch.equal(*losses)


def test_objects_may_take_any_values_that_lie_apart():
    labels = scene()
    f = perfect(labels)
    swapped = torch.where(labels == 7, 4.0, torch.where(labels == 300, 2.0, torch.where(labels == 2, 3.0, f)))
    assert pair_loss(swapped, labels, pairs=StratifiedPairs()) == 0


def test_stratified_pairs_with_a_full_window_are_all_pairs():
    size = 8
    labels = scene(12)[:1, :, :size, :size]
    f = imperfect(scene(12))[:1, :, :size, :size].double()
    losses: dict[bool, list[float]] = {True: [], False: []}
    ids, values = labels.flatten().tolist(), f.relu().flatten().tolist()
    for i, j in combinations(range(size * size), 2):
        if not (ids[i] and ids[j]):
            continue
        d, same = abs(values[i] - values[j]), ids[i] == ids[j]
        v = d if same else max(1 - d, 0)
        losses[same].append(v * v / 0.2 if v < 0.1 else v - 0.05)
    whole = StratifiedPairs(window=2 * size - 1, dilation=1)
    loss = pair_loss(f, labels, pairs=whole, different_weight=3.0)
    expected = sum(losses[True]) / len(losses[True]) + 3 * sum(losses[False]) / len(losses[False])
    torch.testing.assert_close(loss, torch.tensor(expected, dtype=torch.float64))


def test_offsets_are_the_papers_and_none_is_there_twice():
    offsets = StratifiedPairs().offsets()
    assert len(offsets) == 200 == len({min(each, (-each[0], -each[1])) for each in offsets})


def test_the_drawn_pairs_estimate_what_they_stand_for():
    """Uniform pairs the mean over all pairs; balanced ones weigh a small object as much as a large one."""
    labels = scene()[:1]
    labels[0, 0, 7:11, 3:6] = 0  # the third object: four pixels, not sixteen
    f = imperfect(labels)
    torch.manual_seed(0)
    every = StratifiedPairs(window=23, dilation=1)
    whole, same = (pair_loss(f, labels, pairs=every, different_weight=w) for w in (1.0, 0.0))
    with_itself = (16 + 16 + 4) / (16**2 + 16**2 + 4**2)  # of the pairs of one object, a pixel twice: no loss
    drawn = pair_loss(f, labels, pairs=UniformPairs(pairs=200_000))
    torch.testing.assert_close(drawn, whole - same * with_itself, rtol=0.02, atol=0)
    ((_, ids, *_),) = BalancedPairs(pixels=2000)(f, labels)
    shares = ids.unique(return_counts=True)[1] / ids.numel()
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), rtol=0, atol=0.05)


def test_far_objects_pull_no_longer_and_near_ones_push_apart():
    labels = torch.tensor([[[[1.0, 2.0]]]])
    for gap, expected in ((1.2, 0.0), (0.4, 1.0)):
        f = torch.tensor([[[[3.0, 3.0 + gap]]]], requires_grad=True)
        pair_loss(f, labels, pairs=StratifiedPairs(window=3)).backward()
        torch.testing.assert_close(f.grad.flatten(), torch.tensor([expected, -expected]))


def test_below_the_floor_nothing_is_pushed_and_nothing_is_pushed_below_it():
    """The higher of two rises; the lower falls only as far as the floor, where it still is an object."""
    labels = torch.tensor([[[[1.0, 2.0]]]])
    for one, other, expected in ((1.5, 1.9, (0, 0)), (1.9, 2.3, (0, -1)), (2.2, 2.7, (1, -1)), (2.0, 3.0, (0, 0))):
        f = torch.tensor([[[[one, other]]]], requires_grad=True)
        loss = pair_loss(f, labels, pairs=StratifiedPairs(window=3), floor=2.0)
        loss.backward()
        d = max(other, 2.0) - max(one, 2.0)
        assert loss.item() == pytest.approx(max(1 - d - 0.05, 0))
        assert f.grad.flatten().tolist() == pytest.approx(expected)


def test_within_an_object_the_floor_changes_nothing():
    f, labels = torch.tensor([[[[0.3, 1.1]]]]), torch.ones(1, 1, 1, 2)
    given = [pair_loss(f, labels, pairs=StratifiedPairs(window=3), floor=floor) for floor in (0.0, 2.0)]
    assert given[0] == given[1] == pytest.approx(0.8 - 0.05)


def test_with_a_floor_no_term_pushes_an_object_towards_background_for_its_neighbours_sake():
    """Two that touch, at 1.3 and 2: only the lower one is wrong, and it is told to rise."""
    labels = torch.zeros(1, 1, 6, 8)
    labels[..., 1:5, 1:4], labels[..., 1:5, 4:7] = 1, 2
    f = torch.where(labels == 1, 1.3, torch.where(labels == 2, 2.0, 0.0)).requires_grad_()
    loss = DVISLoss(
        pairs=StratifiedPairs(window=9, dilation=1), different=Different(floor=2.0), mumford_shah=0.0, quantisation=0.0
    )
    loss(f, labels).backward()
    assert (f.grad[labels == 1] < 0).all()


def test_the_binary_term_is_hubers_on_either_side_of_its_margins():
    labels = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0])
    f = torch.tensor([-5.0, 0.05, 1.0, 2.5, 0.5])
    expected = (0 + 0.05**2 / 0.2 + 0.95 + 0 + 1.45) / 5
    torch.testing.assert_close(binary_loss(f, labels), torch.tensor(expected))


def test_with_a_slope_the_binary_term_is_least_where_f_says_how_likely_a_pixel_is_inside():
    slope, margin = 4.0, 2.0
    chances = torch.tensor([0.1, 0.5, 0.9])
    f = (margin / 2 + torch.log(chances / (1 - chances)) / slope).requires_grad_()
    labels = torch.tensor([1.0, 0.0])[:, None].expand(2, 3)
    weights = torch.stack([chances, 1 - chances])  # as often inside, as often not
    loss = binary_loss(f.expand(2, 3), labels, margin=margin, slope=slope, weights=weights)
    entropy = -(chances * chances.log() + (1 - chances) * (1 - chances).log())
    assert loss.item() == pytest.approx(entropy.sum().item() / 3)
    loss.backward()
    torch.testing.assert_close(f.grad, torch.zeros(3), rtol=0, atol=1e-6)
    assert DVISLoss(binary=Logistic(slope=slope), pair=0.0, mumford_shah=0.0, quantisation=0.0)(
        torch.ones(1, 1, 2, 2), torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]])
    ).item() == pytest.approx(math.log(2))


def test_the_mumford_shah_term_is_log_2_at_a_unit_edge_and_log_3_at_a_corner():
    f = torch.zeros(1, 1, 4, 4)
    f[..., 1:3, 1:3] = 1
    # A corner at (2, 2), below and to the right; an edge at (0, 1), (0, 2), (1, 0), (2, 0), (1, 2) and (2, 1)
    expected = (6 * torch.tensor(2.0).log() + torch.tensor(3.0).log()) / 16
    torch.testing.assert_close(mumford_shah_loss(f), expected)
    assert mumford_shah_loss(torch.full((1, 1, 4, 4), 3.7)) == 0


def test_quantisation_pulls_to_the_nearest_whole_number_and_not_beside_objects():
    f = torch.tensor([2.2, 2.9, 0.4], requires_grad=True)
    loss = quantisation_loss(f, torch.tensor([1.0, 1.0, 0.0]))
    loss.backward()
    torch.testing.assert_close(loss, torch.tensor(0.15))
    torch.testing.assert_close(f.grad, torch.tensor([0.5, -0.5, 0.0]))


def test_with_a_slope_quantisation_pulls_no_object_to_the_value_of_an_edge_in_doubt():
    f, labels = torch.tensor([[[[1.1, 2.2]]]]), torch.ones(1, 1, 1, 2)
    torch.testing.assert_close(quantisation_loss(f, labels, least=2.0), torch.tensor((0.9 + 0.2) / 2))
    alone = {"pair": 0.0, "mumford_shah": 0.0, "quantisation": 1.0}
    assert DVISLoss(**alone, binary=Logistic(slope=4.0, weight=0.0))(f, labels).item() == pytest.approx((0.9 + 0.2) / 2)
    assert DVISLoss(**alone, binary=0.0)(f, labels).item() == pytest.approx((0.1 + 0.2) / 2)


def test_the_gradient_is_that_of_the_loss_away_from_kinks():
    labels = scene(6)[:1]
    f = (imperfect(labels) + 0.013).double().requires_grad_()
    terms = (
        lambda x: binary_loss(x, labels),
        lambda x: binary_loss(x, labels, slope=4.0),
        lambda x: pair_loss(x, labels, pairs=StratifiedPairs(window=5), different_weight=2.0),
        mumford_shah_loss,
        lambda x: quantisation_loss(x, labels),
    )
    assert all(torch.autograd.gradcheck(term, (f,), eps=1e-7, atol=1e-5) for term in terms)


def test_images_without_objects_and_maps_of_another_shape():
    empty = torch.zeros(2, 1, 8, 8)
    for pairs in SAMPLERS:
        loss = DVISLoss(pairs=pairs)(torch.full_like(empty, 0.3).requires_grad_(), empty)
        torch.testing.assert_close(loss.detach(), torch.tensor(0.25))  # Huber's 0.3 - 0.05: background alone
    with pytest.raises(ValueError, match="alike"):
        DVISLoss()(empty, empty[:, 0])


def test_a_seam_is_where_two_objects_are_seen_and_no_number_of_theirs_matters():
    labels = scene()
    expected = torch.zeros(2, 1, 12, 12, dtype=torch.bool)
    expected[0, 0, 0:6, 4:6] = True  # 7 and 300 touch between columns 4 and 5, rows 1 to 4; a pixel beyond sees both
    assert torch.equal(seams(labels, 1), expected)
    assert torch.equal(seams(torch.where(labels > 0, 400 - labels, 0), 1), expected)
    assert seams(labels, 2)[0, 0, 5, 3], "two pixels wide it reaches the third object, two rows below the first"


def test_what_lies_within_a_border_of_anything_else_is_taken_off_but_not_at_the_edge_of_the_image():
    labels = scene()
    expected = torch.zeros_like(labels)
    expected[0, 0, 2:4, 2:4], expected[0, 0, 2:4, 6:8], expected[0, 0, 8:10, 3:5] = 7, 300, 2
    assert torch.equal(inner(labels, 1), expected)
    assert torch.equal(inner(torch.full((1, 1, 4, 4), 5.0), 1), torch.full((1, 1, 4, 4), 5.0))


def test_pixels_of_objects_may_weigh_more_than_those_beside_them():
    labels = scene()
    f = torch.where(labels > 0, 0.5, 0.25)  # short of the margin by 1.5 on objects, above 0 by 0.25 beside them
    inside, n = int((labels > 0).sum()), labels.numel()
    loss = DVISLoss(pair=0.0, mumford_shah=0.0, quantisation=0.0, pixel_weights=(3.0, 1.0))(f, labels)
    expected = (3 * inside * (1.5 - 0.05) + (n - inside) * (0.25 - 0.05)) / (3 * inside + n - inside)
    assert loss.item() == pytest.approx(expected)


def test_between_touching_objects_background_is_asked_for_and_weighs_more():
    labels = scene()
    f = torch.where(inner(labels, 1) > 0, 2.0, 0.0)
    only_binary = {"pair": 0.0, "mumford_shah": 0.0, "quantisation": 0.0}
    assert DVISLoss(**only_binary, border=1, pixel_weights=(1.0, 5.0))(f, labels) == 0
    assert DVISLoss(**only_binary)(f, labels) > 0
    at_seam, whole = seams(labels, 1), torch.where(labels > 0, 2.0, 0.0)
    wrong = (whole > 0) & (inner(labels, 1) == 0)
    weight = int(wrong.sum()) + 4 * int((wrong & at_seam).sum())
    expected = weight * (2 - 0.05) / (labels.numel() + 4 * int(at_seam.sum()))  # Huber's loss of 2 is 2 - t / 2
    assert DVISLoss(**only_binary, border=1, pixel_weights=(1.0, 5.0))(whole, labels).item() == pytest.approx(expected)
