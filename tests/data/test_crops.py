"""Crops: inside a picture, beyond it, both ways at once; the mask tells which; distances are the whole mask's."""

import numpy as np
import pytest
import torch

from pipeline.data.crops import RandPaddedCropd, SignedDistanced, Window
from pipeline.numerics.signed_distance import signed_distance


def picture(height, width):
    return torch.arange(1.0, height * width + 1).reshape(1, height, width)


def test_a_window_cuts_and_pads():
    image = picture(3, 4)
    torch.testing.assert_close(Window(2, (1, 2))(image), image[:, 1:3, 2:4])
    padded = Window(5, (-1, 1))(image)
    torch.testing.assert_close(padded[:, 1:4, :3], image[:, :, 1:])
    assert padded.shape == (1, 5, 5) and padded.sum() == image[:, :, 1:].sum()


@pytest.mark.parametrize("shape", [(9, 12), (4, 5), (4, 12), (7, 7)])
def test_a_crop_has_its_size_whatever_the_picture_and_its_mask_marks_what_is_picture(shape):
    crop = RandPaddedCropd(["image", "distance"], size=7).set_random_state(0)
    for _ in range(5):
        made = crop({"image": picture(*shape).expand(3, -1, -1), "distance": -picture(*shape)})
        assert made["image"].shape == (3, 7, 7) and made["mask"].shape == (1, 7, 7)
        assert torch.equal(made["mask"][0] > 0, made["image"][0] > 0)  # this picture has no 0 of its own
        assert torch.equal(made["distance"][0], -made["image"][0])
        assert made["mask"].sum() == min(shape[0], 7) * min(shape[1], 7)


def test_every_place_is_drawn_and_a_seed_repeats_it():
    crop = RandPaddedCropd("image", size=3)
    starts = {crop.set_random_state(seed).draw((5, 2)).start for seed in range(60)}
    assert starts == {(top, left) for top in (0, 1, 2) for left in (-1, 0)}
    assert crop.set_random_state(4).draw((50, 60)) == crop.set_random_state(4).draw((50, 60))


def test_the_distance_is_that_of_the_mask():
    mask = np.zeros((6, 8), np.float32)
    mask[2:5, 3:7] = 1
    made = SignedDistanced("label")({"label": torch.from_numpy(mask)[None], "id": "a"})
    assert made["id"] == "a" and np.array_equal(made["distance"][0].numpy(), signed_distance(mask > 0))
