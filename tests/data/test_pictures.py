"""PictureDataset: what a sample holds, and that it depends on seed, epoch and its number alone."""

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose, RandAffined, RandFlipd, RandGaussianNoised
from PIL import Image

from pipeline.data.pictures import PictureDataset


def save(path, array):
    Image.fromarray(array).save(path)
    return str(path)


@pytest.fixture
def listed(tmp_path):
    """Four colour pictures of 6 x 9 with instances 300 and 301."""
    rng = np.random.default_rng(0)
    label = np.zeros((6, 9), np.uint16)
    label[1, 2], label[4, 5] = 300, 301
    return [
        {
            "id": f"case{k}",
            "image": save(tmp_path / f"{k}.png", rng.integers(0, 256, (6, 9, 3)).astype(np.uint8)),
            "label": save(tmp_path / f"{k}_label.png", label),
        }
        for k in range(4)
    ]


def test_a_sample_is_scaled_and_channels_come_first(listed):
    sample = PictureDataset(listed)[1]
    stored = np.asarray(Image.open(listed[1]["image"]))
    np.testing.assert_allclose(sample["image"], np.moveaxis(stored, 2, 0) / 255, rtol=1e-6)
    assert (sample["image"].dtype, sample["label"].dtype) == (torch.float32, torch.float32)
    assert sample["label"].shape == (1, 6, 9) and sample["label"].sum() == 2
    assert sample["id"] == "case1"


def test_values_are_kept_where_they_are_classes(listed):
    assert set(PictureDataset(listed, classes=True)[0]["label"].unique().tolist()) == {0, 300, 301}


def test_a_grey_picture_has_one_channel(tmp_path):
    paths = {
        "id": "x",
        "image": save(tmp_path / "x.png", np.full((4, 5), 51, np.uint8)),
        "label": save(tmp_path / "y.png", np.zeros((4, 5), np.uint8)),
    }
    sample = PictureDataset([paths])[0]
    assert sample["image"].shape == (1, 4, 5) and sample["image"].unique() == pytest.approx(0.2)
    assert not sample["label"].any()


AUGMENTATION = Compose(
    [
        RandFlipd(["image", "label"], prob=0.5, spatial_axis=1),
        RandAffined(["image", "label"], prob=1.0, rotate_range=[0.4], mode=["bilinear", "nearest"]),
        RandGaussianNoised("image", prob=1.0, std=0.1),
    ]
)


def epoch(listed, number, order, seed=0):
    dataset = PictureDataset(listed, AUGMENTATION, seed=seed)
    dataset.set_epoch(number)
    drawn = {k: np.asarray(dataset[k]["image"]) for k in order}
    return np.stack([drawn[k] for k in sorted(drawn)])


def test_a_sample_depends_on_seed_epoch_and_number_and_not_on_what_was_drawn_before(listed):
    first = epoch(listed, 3, [0, 1, 2, 3])
    np.testing.assert_array_equal(first, epoch(listed, 3, [2, 0, 3, 1]))
    assert not np.array_equal(first, epoch(listed, 4, range(4)))
    assert not np.array_equal(first, epoch(listed, 3, range(4), seed=1))


def test_two_samples_of_an_epoch_are_changed_differently(listed):
    noise = RandGaussianNoised("image", prob=1.0, std=0.1)
    twice = PictureDataset([listed[0], listed[0]], noise)
    assert not np.array_equal(twice[0]["image"], twice[1]["image"])


def test_workers_draw_the_samples_that_one_process_draws(listed):
    dataset = PictureDataset(listed, AUGMENTATION)
    dataset.set_epoch(2)
    alone, shared = (
        np.concatenate([np.asarray(batch["image"]) for batch in DataLoader(dataset, batch_size=2, num_workers=n)])
        for n in (0, 2)
    )
    np.testing.assert_array_equal(alone, shared)


def test_the_label_moves_with_the_image(tmp_path):
    """A picture that shows its own label: after any affine motion they still agree inside and outside."""
    label = np.zeros((40, 40), np.uint8)
    label[10:30, 15:35] = 1
    paths = {"id": "x", "image": save(tmp_path / "x.png", label * 255), "label": save(tmp_path / "y.png", label)}
    move = RandAffined(
        ["image", "label"], prob=1.0, rotate_range=[0.5], translate_range=[4, 4], mode=["bilinear", "nearest"]
    )
    for number in range(5):
        dataset = PictureDataset([paths], move)
        dataset.set_epoch(number)
        sample = dataset[0]
        assert ((sample["image"] > 0.5) == (sample["label"] > 0.5)).float().mean() > 0.98
        assert set(sample["label"].unique().tolist()) == {0.0, 1.0}


def test_what_cannot_be_trained_on_is_refused(tmp_path, listed):
    with pytest.raises(ValueError, match="data is empty"):
        PictureDataset([])
    small = save(tmp_path / "small.png", np.zeros((3, 3), np.uint8))
    with pytest.raises(ValueError, match=r"\(6, 9\) pixels, its label \(3, 3\)"):
        PictureDataset([{**listed[0], "label": small}])
    deep = save(tmp_path / "deep.png", np.zeros((6, 9), np.uint16))
    with pytest.raises(ValueError, match="uint16, not of 8 bits"):
        PictureDataset([{**listed[0], "image": deep}])
