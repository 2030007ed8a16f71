"""Damaged contours: what each damage does to a disc, and that a wrong contour does not betray the right one."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data.damage import PrepareInitialContour, RandContourDamaged
from pipeline.numerics.signed_distance import signed_distance

SIZE = 96


def disc(radius=20):
    at = np.arange(SIZE) - SIZE / 2
    return signed_distance(np.hypot(at[:, None], at[None, :]) < radius)


def damages(n=30, **words):
    """`n` damaged masks of a disc, with the disc's mask."""
    none = {"prob": 1.0, "nothing": 0.0, "grow": 0.0, "move": 0.0, "wobble": 0.0, "radius": (0.0, 0.0)}
    random = RandContourDamaged("distance", **(none | words))
    random.set_random_state(0)
    return [random({"distance": disc()[None]})["initial"].numpy()[0] for _ in range(n)], disc() > 0


def test_a_contour_that_grows_or_shrinks_stays_within_the_given_pixels():
    maps, true = damages(grow=4)
    radii = [np.sqrt((phi > 0).sum() / np.pi) for phi in maps]
    assert 16 <= min(radii) < 18.5 and 21.5 < max(radii) <= 24
    assert np.sqrt(true.sum() / np.pi) == pytest.approx(20, abs=0.1)


def test_a_contour_that_is_moved_keeps_its_size_and_loses_its_place():
    maps, true = damages(move=6)
    centres = np.array([np.argwhere(phi > 0).mean(axis=0) for phi in maps]) - np.argwhere(true).mean(axis=0)
    sizes = np.array([(phi > 0).sum() for phi in maps])
    assert 3 < np.abs(centres).max() <= 6 and np.abs(sizes / true.sum() - 1).max() < 0.05


def test_bites_take_away_and_blobs_add():
    maps, true = damages(radius=(3, 12), n=60)
    assert any((true & (phi <= 0)).sum() > 100 for phi in maps) and any((~true & (phi > 0)).sum() > 100 for phi in maps)


def test_a_wobbly_contour_has_its_size_on_the_average():
    maps, true = damages(wobble=5, n=60)
    assert np.mean([(phi > 0).sum() for phi in maps]) == pytest.approx(true.sum(), rel=0.1)
    assert not any(((phi > 0) == true).all() for phi in maps)


def test_the_map_is_the_distance_of_the_damaged_mask_and_knows_nothing_of_the_true_one():
    for phi in damages(grow=4, wobble=5, radius=(3, 12), n=5)[0]:
        np.testing.assert_array_equal(phi, signed_distance(phi > 0))


def test_some_samples_start_from_nothing_and_some_from_the_true_contour():
    random = RandContourDamaged("distance", prob=0.3, nothing=0.2)
    random.set_random_state(0)
    maps = [random({"distance": disc()[None]})["initial"].numpy()[0] > 0 for _ in range(200)]
    empty, exact = (np.mean([(m == other).all() for m in maps]) for other in (disc() > 1e9, disc() > 0))
    assert 0.12 < empty < 0.3 and 0.08 < exact < 0.25  # 0.2 and 0.8 * 0.7 ** 5 = 0.13


def test_one_seed_draws_the_same_damage_and_the_sample_is_left_as_it_was():
    first, second = RandContourDamaged("distance"), RandContourDamaged("distance")
    sample = {"distance": disc()[None]}
    for random in (first, second):
        random.set_random_state(3)
    for _ in range(5):
        assert torch.equal(first(sample)["initial"], second(sample)["initial"])
    assert set(sample) == {"distance"}
    np.testing.assert_array_equal(sample["distance"][0], disc())


def test_the_first_part_of_a_batch_starts_from_the_regressor_without_a_gradient():
    regressor = nn.Conv2d(1, 1, 1)
    batch = {key: torch.randn(4, 1, 8, 8) for key in ("image", "distance", "initial")}
    prepare = PrepareInitialContour(regressor, share=0.5, mixed_precision=False)
    image, distance, (initial,), words = prepare(batch, "cpu")
    assert torch.equal(image, batch["image"]) and torch.equal(distance, batch["distance"]) and words == {}
    assert torch.equal(initial[2:], batch["initial"][2:]) and not initial.requires_grad
    torch.testing.assert_close(initial[:2], regressor(batch["image"][:2]))
