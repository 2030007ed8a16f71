"""Star shapes on a grid: rays and their tree, the nearest star-shaped mask against all masks, and a test of rays."""

from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pipeline.numerics.star import object_center, parents, ray_field, rays_violated, star_mask


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def grid(*sides):
    return torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in sides), indexing="ij")


def disc(side, center, radius):
    return sum((axis - c) ** 2 for axis, c in zip(grid(*[side] * len(center)), center, strict=True)) <= radius**2


def test_rays_are_unit_vectors_to_the_nearest_centre():
    rays = ray_field((3, 9), torch.tensor([[1.0, 1.0], [1.0, 7.0], [torch.nan, 0.0]]))
    assert rays[:, 1, 1].tolist() == [0, 0] and rays[:, 1, 3].tolist() == [0, -1] and rays[:, 1, 5].tolist() == [0, 1]
    torch.testing.assert_close(rays[:, 2, 2], torch.tensor([-1.0, -1.0], dtype=torch.float64) / 2**0.5)


@pytest.mark.parametrize(("shape", "center"), [((9, 12), (3.0, 7.4)), ((5, 6, 7), (2.0, 0.0, 6.0))])
def test_a_parent_is_a_neighbour_one_ring_nearer_and_the_root_its_own(shape, center):
    parent, ring = parents(shape, torch.tensor([center]))
    root = np.ravel_multi_index(tuple(int(c + 0.5) for c in center), shape)
    assert parent[root] == root and ring[root] == 0
    others = torch.arange(len(parent)) != root
    assert torch.equal(ring[parent[others]], ring[others] - 1)
    points = torch.stack(torch.unravel_index(torch.arange(len(parent)), shape))
    assert (points - points[:, parent]).abs().max() == 1
    assert torch.equal(ring, (points - points[:, [root]]).abs().amax(dim=0))


@pytest.mark.parametrize("size", [64, 256, 512])
def test_paths_of_the_tree_stay_near_their_rays(size):
    # One octant shows all: the path of (size, y) after k steps against y (size - k) / size.
    parent, _ = parents((size + 1, size + 1), torch.zeros(1, 2))
    at = size * (size + 1) + torch.arange(size + 1)
    start, worst = at % (size + 1), 0.0
    for k in range(1, size + 1):
        at = parent[at]
        off = (at % (size + 1) - start * (size - k) / size).abs() / (1 + (start / size) ** 2).sqrt()
        worst = max(worst, off.max().item())
    assert worst < 2.4  # rounding at 1/2 has 8 at 64, 31 at 256, 62 at 512


def test_a_turned_image_has_the_turned_tree():
    center = torch.tensor([[4.0, 4.0]])
    scores = noise(9, 9)
    assert torch.equal(star_mask(scores.rot90(), center), star_mask(scores, center).rot90())


@pytest.mark.parametrize(("shape", "center"), [((3, 4), (1.0, 2.0)), ((2, 2, 3), (1.0, 1.0, 0.0))])
@pytest.mark.parametrize("seed", range(4))
def test_the_sum_is_the_largest_of_all_masks_that_hold_their_parents(shape, center, seed):
    scores, center = noise(*shape, seed=seed), torch.tensor([center])
    parent, ring = parents(shape, center)
    pixels = len(parent)
    masks = torch.tensor(list(product([False, True], repeat=pixels)))
    masks = masks[(masks <= masks[:, parent]).all(dim=1) & masks[:, ring == 0].all(dim=1)]
    best = masks[(masks * scores.flatten()).sum(dim=1).argmax()]
    # The segments that are added lie in the optimum where its own rays do.
    found = star_mask(scores, center).flatten()
    assert (found >= best).all()
    if rays_violated(best.view(shape), center, 0.0) == 0:
        assert torch.equal(found, best)


def blob(side, seed):
    """Random scores that fall with the distance from the middle: an object with bites, holes and satellites."""
    rough = F.interpolate(noise(1, 1, side // 8, side // 8, seed=seed), size=side, mode="bicubic")[0, 0]
    y, x = grid(side, side)
    middle = (side - 1) / 2
    return 2 * rough + 2 - ((y - middle) ** 2 + (x - middle) ** 2).sqrt() / (side / 8)


@pytest.mark.parametrize("seed", range(3))
def test_every_ray_of_the_nearest_star_lies_in_it_where_the_mask_had_shadows(seed):
    scores, center = blob(96, seed), torch.tensor([[45.3, 50.0]])
    found = star_mask(scores, center)
    assert rays_violated(scores > 0, center) > 0.05
    assert rays_violated(found, center) == 0 and found[45, 50]


@pytest.mark.parametrize("side", [64, 300])
def test_no_ray_of_a_star_misses_it_by_more_than_a_pixel_on_grids_of_any_size(side):
    # Slanted needles from a corner, where the tree's paths are farthest from the rays.
    y, x = grid(side, side)
    angle = torch.atan2(y, x)
    scores = torch.where((torch.sin(16 * angle) > 0.2) & (x.hypot(y) < side - 3), 1.0, -1.0)
    center = torch.tensor([[0.0, 0.0]])
    found = star_mask(scores, center)
    assert rays_violated(found, center, 1.0) == 0
    assert (found == (scores > 0)).double().mean() > 0.9


def test_a_star_is_found_in_three_dimensions():
    ball = disc(24, (12.0, 11.0, 13.0), 8)
    gap = torch.zeros_like(ball)
    gap[15:18, 8:14, 10:16] = True
    scores = torch.where(ball & ~gap, 1.0, -1.0) + 0.3 * noise(24, 24, 24)
    center = torch.tensor([[12.0, 11.0, 13.0]])
    found = star_mask(scores, center)
    assert rays_violated(scores > 0, center) > 0.02 and rays_violated(found, center) == 0
    assert (found & ball).sum() > 0.95 * ball.sum() and (found & ~ball).sum() < 0.05 * ball.sum()


def test_star_shaped_masks_stay_as_they_are():
    for mask, center in ((disc(41, (20.0, 20.0), 15), (20.0, 20.0)), (disc(41, (20.0, 20.0), 15), (25.0, 12.0))):
        found = star_mask(mask.double() * 2 - 1, torch.tensor([center]))
        assert torch.equal(found, mask)


def test_a_thin_slanted_bar_survives():
    # Rounding at 1/2 loses its ends: the path from a tip leaves the bar after a few pixels.
    y, x = grid(161, 161)
    bar = ((y - 80) * np.cos(0.24) - (x - 80) * np.sin(0.24)).abs() < 2.5
    bar &= (x - 80).abs() < 75
    found = star_mask(bar.double() * 2 - 1, torch.tensor([[80.0, 80.0]]))
    assert (found & bar).sum() > 0.97 * bar.sum() and (found & ~bar).sum() < 0.06 * bar.sum()


def test_a_weak_hole_is_filled_and_what_lies_behind_a_strong_gap_is_dropped():
    scores = torch.full((1, 9), -1.0, dtype=torch.float64)
    scores[0, :4], scores[0, 5:7] = 1.0, 2.0
    assert star_mask(scores, torch.tensor([[0.0, 0.0]]))[0].tolist() == [True] * 7 + [False] * 2
    scores[0, 4] = -5.0
    assert star_mask(scores, torch.tensor([[0.0, 0.0]]))[0].tolist() == [True] * 4 + [False] * 5


def test_the_centre_is_kept_even_where_it_costs_and_an_empty_mask_stays_empty():
    scores = torch.full((5, 5), -3.0, dtype=torch.float64)
    center = torch.tensor([[2.0, 2.0]])
    assert not star_mask(scores, center).any()
    scores[0, 0] = 1.0
    assert star_mask(scores, center).nonzero().tolist() == [[2, 2]]
    assert not star_mask(-scores, torch.tensor([[torch.nan, 2.0]])).any()


@pytest.mark.parametrize("volume", [1, 150, 400, 707, 1500])
def test_a_star_of_a_given_volume_has_it_to_the_pixel(volume):
    scores, center = blob(48, 1), torch.tensor([[24.0, 22.0]])
    found = star_mask(scores, center, volume, volume)
    assert int(found.sum()) == volume and rays_violated(found, center) == 0


def test_a_volume_interval_moves_a_star_no_further_than_needed():
    scores, center = blob(48, 1), torch.tensor([[24.0, 22.0]])
    free = int(star_mask(scores, center).sum())
    assert torch.equal(star_mask(scores, center, free - 9, free + 9), star_mask(scores, center))
    assert int(star_mask(scores, center, 0, free - 9).sum()) == free - 9
    assert int(star_mask(scores, center, free + 9).sum()) == free + 9


def test_what_a_volume_lacks_is_added_from_the_centre_outwards():
    scores = torch.tensor([[2.0] * 8 + [-1.0] * 11 + [1.0]])  # the optimum for any constant: one pixel, or all
    assert star_mask(scores, torch.tensor([[0.0, 19.0]]), 5, 5)[0].tolist() == [False] * 15 + [True] * 5


def test_nothing_lies_or_passes_where_a_score_is_minus_infinity():
    scores = torch.ones(9, 9, dtype=torch.float64)
    scores[4, 6] = -torch.inf
    center = torch.tensor([[4.0, 4.0]])
    found = star_mask(scores, center)
    assert not found[4, 6:].any() and found[4, 5] and found[0].all() and found[:, 0].all()
    with pytest.raises(ValueError, match="81 pixels are asked for"):
        star_mask(scores, center, 81, 81)


def test_two_objects_are_star_shaped_about_their_own_centres():
    mask = disc(40, (12.0, 12.0), 7) | disc(40, (28.0, 28.0), 7)
    both = torch.tensor([[12.0, 12.0], [28.0, 28.0]])
    assert torch.equal(star_mask(mask.double() * 2 - 1, both), mask)
    assert torch.equal(star_mask(mask.double() * 6 - 5, both[:1]), disc(40, (12.0, 12.0), 7))  # a bridge costs too much
    assert rays_violated(mask, both) == 0 and rays_violated(mask, both[:1]) == pytest.approx(0.5, abs=0.01)


def test_a_ray_is_violated_by_a_gap_wider_than_the_tolerance():
    line = torch.ones(1, 12)
    line[0, 4:7] = 0  # pixels 4 and 6 are 1 from the mask, 5 is 2
    center = torch.tensor([[0.0, 0.0]])
    assert rays_violated(line > 0, center, 1.5) == pytest.approx(5 / 9) and rays_violated(line > 0, center, 2.0) == 0
    assert rays_violated(line > 2, center) == 0 and np.isnan(rays_violated(line > 0, center * torch.nan))


@pytest.mark.parametrize("center", [(-1.0, 2.0), (2.0, 4.6)])
def test_a_centre_outside_the_image_is_refused(center):
    with pytest.raises(ValueError, match="are not all in an image"):
        star_mask(torch.ones(4, 5), torch.tensor([center]))


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="nan"):
        star_mask(torch.full((4, 5), torch.nan), torch.tensor([[1.0, 1.0]]))


def test_the_centre_of_an_object_is_its_centroid_or_its_deepest_pixel():
    square = np.zeros((9, 9), bool)
    square[2:5, 3:7] = True
    assert object_center(square).tolist() == [3.0, 4.5]
    assert object_center(square, (2.0, 6.4)).tolist() == [2.0, 6.4]
    square[3, 4:6] = False  # a frame around the centroid, as deep everywhere: the first pixel
    assert object_center(square).tolist() == [2.0, 3.0]
    assert object_center(square, (-3.0, 99.0)).tolist() == [2.0, 3.0]
    assert np.isnan(object_center(np.zeros((3, 3), bool))).all()


def test_a_mask_at_the_border_is_deep_away_from_the_border():
    half = np.zeros((9, 9), bool)
    half[:5] = True
    assert object_center(half, (8.0, 8.0)).tolist() == [2.0, 2.0]


def test_between_two_centres_a_pixel_may_see_either():
    # The left object reaches the line between both centres, whose pixels are not where they are themselves.
    y, x = grid(120, 220)
    centers = torch.tensor([[57.01, 108.52], [68.72, 168.50]], dtype=torch.float64)
    left = 34 - ((y - centers[0, 0]) ** 2 + (x - centers[0, 1]) ** 2).sqrt()
    right = 18 - ((y - centers[1, 0]) ** 2 + (x - centers[1, 1]) ** 2).sqrt()
    found = star_mask(torch.maximum(left, right), centers)
    assert found.any(dim=0)[:139].sum() > 50 and rays_violated(found, centers) == 0
