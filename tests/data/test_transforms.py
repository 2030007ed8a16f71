"""Similarity: identity, inverse, and the law that carries a distance map along."""

import math

import numpy as np
import pytest
import torch

from pipeline.data.transforms import RandEnhancementd, RandSimilarityd, Similarity
from pipeline.numerics.signed_distance import signed_distance


def disc(radius, centre=(31.5, 31.5)):
    y, x = np.indices((64, 64))
    return np.hypot(y - centre[0], x - centre[1]) <= radius


def distance_of(mask):
    return torch.from_numpy(signed_distance(mask))[None]


def test_the_identity_changes_nothing():
    image = torch.randn(1, 20, 20)
    torch.testing.assert_close(Similarity()(image, outside=0.0), image, atol=1e-5, rtol=0)


@pytest.mark.parametrize("zoom", [0.6, 1.6])
def test_the_distance_of_a_zoomed_disc_is_that_of_the_larger_disc(zoom):
    moved = Similarity(zoom=zoom)(distance_of(disc(14))) * zoom
    band = distance_of(disc(14 * zoom)).abs() < 6
    assert (moved - distance_of(disc(14 * zoom)))[band].abs().max() < 1.0  # both discs are digital: a pixel each way


def test_a_shift_is_a_share_of_half_the_width():
    image = torch.zeros(1, 20, 20)
    image[0, 10, 10] = 1
    moved = Similarity(shift=(0.3, -0.2))(image, outside=0.0)  # 0.3 * 10 columns, -0.2 * 10 rows
    assert moved[0, 8, 13].item() == pytest.approx(1, abs=1e-5)


def test_a_quarter_turn_and_a_mirror_move_pixels_without_blur():
    image = torch.rand(1, 16, 16)
    turned = Similarity(angle=math.pi / 2)(image, outside=0.0)
    assert any(torch.allclose(turned, torch.rot90(image, k, (1, 2)), atol=1e-5) for k in (1, 3))
    torch.testing.assert_close(Similarity(mirror=True)(image, outside=0.0), image.flip(1), atol=1e-5, rtol=0)


def test_the_image_and_its_distance_move_together():
    mask = disc(10, centre=(24, 38))
    transform = RandSimilarityd("image", ["distance"], zoom=(0.6, 1.6), max_angle=0.3, max_shift=0.2, mirror=True)
    transform.set_random_state(seed=1)
    for _ in range(20):
        out = transform({"image": torch.from_numpy(mask.astype(np.float32))[None], "distance": distance_of(mask)})
        assert ((out["image"] > 0.5) != (out["distance"] > 0)).float().mean() < 0.01


def test_beyond_the_border_lies_air():
    out = Similarity(zoom=0.5)(torch.full((1, 16, 16), 0.3), outside=-1.0)
    assert out[0, 0, 0] == pytest.approx(-1.0) and out[0, 8, 8].item() == pytest.approx(0.3, abs=1e-6)


def test_equal_seeds_draw_equal_samples():
    transform = RandSimilarityd("image", zoom=(0.6, 1.6), max_angle=1, max_shift=1, mirror=True)
    draws = []
    for seed in (1, 1, 2):
        transform.set_random_state(seed=seed)
        draws.append([transform.draw() for _ in range(3)])
    assert draws[0] == draws[1] != draws[2]


def test_the_zoom_is_uniform_in_its_logarithm():
    transform = RandSimilarityd("image", zoom=(0.5, 2.0))
    transform.set_random_state(seed=0)
    logs = np.log2([transform.draw().zoom for _ in range(4000)])
    assert abs(logs.mean()) < 0.04 and abs(logs.std() - 2 / math.sqrt(12)) < 0.02


def test_an_impossible_zoom_is_refused():
    with pytest.raises(ValueError, match="interval of positive numbers"):
        RandSimilarityd("image", zoom=(0.0, 1.0))


def enhanced(image, distance, *, mean=(0.0, 0.0), contrast=(1.0, 1.0), prob=1.0):
    transform = RandEnhancementd("image", "distance", mean=mean, contrast=contrast, prob=prob)
    return transform({"image": image, "distance": distance})["image"]


def test_enhancement_gives_the_object_the_drawn_mean_and_contrast_and_leaves_the_rest():
    distance = distance_of(disc(14))
    image = torch.randn(1, 64, 64)
    seen = enhanced(image, distance, mean=(0.4, 0.4), contrast=(0.5, 0.5))
    inside, far = distance > 3, distance < -6  # away from the soft edge
    mu = image[distance > 0].mean()
    torch.testing.assert_close(seen[inside], 0.4 + 0.5 * (image[inside] - mu), atol=0.02, rtol=0)
    torch.testing.assert_close(seen[far], image[far], atol=1e-4, rtol=0)


def test_enhancement_does_nothing_without_the_object_or_without_luck():
    image = torch.randn(1, 64, 64)
    assert torch.equal(enhanced(image, torch.full((1, 64, 64), -128.0)), image)
    assert torch.equal(enhanced(image, distance_of(disc(9)), prob=0.0), image)
