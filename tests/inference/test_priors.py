"""Whole objects on the delivered grid: exact volumes, exact stars, where a centre comes from, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.errors import CaseError
from pipeline.inference.priors import (
    CENTER_ON_BACKGROUND,
    STAR_CHANGED,
    ObjectPrior,
    ObjectPriord,
    predicted_centers,
)
from pipeline.numerics.star import rays_violated

SHAPES = pytest.mark.parametrize("shape", [(40, 52), (1, 30), (14, 16, 20)])


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ball(shape, center, radius):
    """A logit that falls from `radius` at the centre, 0 at the distance `radius`."""
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in shape), indexing="ij")
    return radius - sum((axis - c) ** 2 for axis, c in zip(axes, center, strict=True)).sqrt()


@SHAPES
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_without_anything_asked_the_labels_are_the_networks(shape, channels):
    logits = noise(channels, *shape)
    expected = logits[0] > 0 if channels == 1 else logits.argmax(dim=0)
    assert torch.equal(ObjectPrior()(logits).labels, expected.to(torch.uint8))


@SHAPES
def test_a_volume_is_exact_to_the_pixel_and_an_interval_is_kept(shape):
    logits = noise(1, *shape)
    natural, pixels = int((logits > 0).sum()), logits.numel()

    def volume(least, most):
        return int(ObjectPrior()(logits, volumes={1: (least, most)}).labels.sum())

    assert [volume(n, n) for n in (0, 1, pixels // 3, pixels)] == [0, 1, pixels // 3, pixels]
    assert volume(0, pixels) == natural
    assert volume(natural + 2, pixels) == natural + 2 and volume(0, natural - 3) == natural - 3


@SHAPES
def test_an_object_becomes_a_star_about_its_centre(shape):
    middle = [n // 2 for n in shape]
    logits = ball(shape, middle, max(shape) / 2.2)[None]
    logits[..., middle[-1] + 2 : middle[-1] + 6] = -1  # a slit, of more than the tolerance on both sides
    found = ObjectPrior(star_shaped=[1])(logits)
    centers = torch.from_numpy(found.centers[1])
    assert found.labels.any() and len(centers) == 1
    assert rays_violated(found.labels == 1, centers) == 0
    assert found.labels[tuple((centers[0] + 0.5).long())] == 1
    assert rays_violated(logits[0] > 0, centers) > 0.05  # the premise


def test_star_and_volume_hold_together_for_several_classes():
    shape = (40, 40)
    seen = [torch.zeros(shape), ball(shape, (12, 12), 8), ball(shape, (26, 24), 9)]
    logits = torch.stack(seen) + 2 * noise(3, *shape)
    centers = {1: np.array([[12.0, 12.0]]), 2: np.array([[26.0, 24.0]])}
    labels = ObjectPrior()(logits, centers, {1: (150, 150), 2: (200, 260)}).labels
    assert (labels == 1).sum() == 150 and 200 <= (labels == 2).sum() <= 260
    for number, about in centers.items():
        assert rays_violated(labels == number, torch.from_numpy(about)) == 0


def test_a_given_centre_wins_and_is_reported_and_background_under_it_is_flagged():
    logits = ball((40, 40), (20, 14), 9)[None]
    prior = ObjectPrior(star_shaped=[1])
    inside = prior(logits, {1: np.array([[20.2, 10.0]])})
    assert inside.centers[1].tolist() == [[20.2, 10.0]] and inside.flags == ()
    outside = prior(logits, {1: np.array([[5.0, 33.0]])})
    assert outside.labels[5, 33] == 1 and (CENTER_ON_BACKGROUND, 1) in outside.flags
    assert not prior(logits - 20, {1: np.array([[20.0, 14.0]])}).labels.any()  # an empty result is allowed


def test_an_object_that_no_star_comes_near_to_is_flagged():
    two = torch.maximum(ball((40, 60), (20, 14), 9), ball((40, 60), (20, 45), 8))[None]
    assert ObjectPrior(star_shaped=[1])(two).flags == ((STAR_CHANGED, 1),)
    both = ObjectPrior(star_shaped=[1], objects=2)(two)
    assert both.flags == () and both.centers[1].round().tolist() == [[20, 14], [20, 45]]  # the deeper one first


def test_a_predicted_centre_is_the_deepest_parts_centroid_or_its_deepest_point():
    disc, speck = ball((50, 70), (25, 30), 10), ball((50, 70), (45, 60), 1.5)
    np.testing.assert_allclose(predicted_centers(torch.maximum(disc, speck)), [[25, 30]], atol=0.1)
    crescent = torch.minimum(disc, -ball((50, 70), (25, 34), 8))
    [center] = predicted_centers(crescent)
    assert crescent[tuple(np.round(center).astype(int))] > 0
    assert predicted_centers(speck).tolist() == [[45, 60]]  # smoothed away, and seen nevertheless
    assert predicted_centers(disc - 30).shape == (0, 2)
    np.testing.assert_allclose(predicted_centers(disc - 30, needed=True), [[25, 30]], atol=1)


def test_a_centre_of_a_large_image_is_found_on_fewer_pixels():
    large = ball((1500, 2100), (700, 1300), 300)
    np.testing.assert_allclose(predicted_centers(large), [[700, 1300]], atol=1)


@pytest.mark.parametrize(
    ("centers", "volumes"), [({1: np.array([[4.0, 40.0]])}, {}), ({}, {1: (1700, 1700)}), ({}, {1: (9, 8)})]
)
def test_what_an_image_cannot_have_is_refused(centers, volumes):
    with pytest.raises(CaseError) as refused:
        ObjectPrior()(noise(1, 40, 40), centers, volumes)
    assert refused.value.code == "BAD_OBJECT"


def test_monais_engines_get_it_with_predicted_and_with_true_centres_and_volumes():
    logits = ball((40, 40), (20, 14), 9)[None]
    sample = {"pred": logits, "centers": torch.tensor([[[22.0, 12.0], [torch.nan, torch.nan]]])}
    sample["volumes"] = torch.tensor([1500.0, 100.0])
    prior = ObjectPrior(star_shaped=[1])
    predicted = ObjectPriord("pred", prior)(sample)["pred"]
    assert torch.equal(predicted[0], prior(logits).labels.float())
    true = ObjectPriord("pred", prior, centers_key="centers", volumes_key="volumes")(sample)["pred"]
    assert true.sum() == 100 and rays_violated(true[0] > 0, sample["centers"][0]) == 0
