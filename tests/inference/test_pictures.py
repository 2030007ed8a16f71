"""Pictures of any size and kind through a network of one size: what is exact, what is symmetric, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from pipeline.errors import InputError
from pipeline.inference.export import whole_logits
from pipeline.inference.pictures import PictureChannelsd, PictureInferer, picture_files, stretched
from pipeline.inference.priors import ObjectPrior
from pipeline.io.channels import unit_values, with_channels
from pipeline.io.volume import Volume

SIZE = 32
INFERER = PictureInferer(size=SIZE)
CPU = torch.device("cpu")
SHAPES = [(32, 32), (16, 32), (1, 1), (1, 50), (7, 5), (31, 33), (64, 96), (97, 41), (300, 211)]


def centred(sample):
    return {"image": sample["image"] * 2 - 1}


def itself(pictures):
    """An untrained network: its logits are the picture."""
    return pictures


def labels_of(picture, network=itself, channels=1, inferer=INFERER):
    image = Volume(with_channels(unit_values(picture), channels), np.eye(3))
    parts = inferer.parts(image, network, intensity=centred, device=CPU, everywhere=True)
    return ObjectPrior()(whole_logits(image, parts)).labels.numpy()


def disc(shape):
    """Bright inside an ellipse that fills most of the picture."""
    y, x = (np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape)
    return np.where(y[:, None] ** 2 + x[None] ** 2 < 0.6, 200, 40).astype(np.uint8)


def contour(mask, reach):
    """Pixels whose neighbourhood of `reach` holds both values."""
    padded = np.pad(mask, reach, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1,) * 2)
    return windows.min(axis=(2, 3)) != windows.max(axis=(2, 3))


@pytest.mark.parametrize("value", [0, 127, 128, 255])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_picture_of_one_value_is_thresholded_exactly_at_any_size(shape, value):
    labels = labels_of(np.full(shape, value, np.uint8))
    assert labels.shape == shape and labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, value > 127)


def test_at_the_networks_own_size_an_untrained_network_returns_the_thresholded_picture_bit_for_bit():
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    np.testing.assert_array_equal(labels_of(noise), noise > 127)


@pytest.mark.parametrize("shape", SHAPES)
def test_at_any_size_it_returns_the_thresholded_picture_but_for_a_pixel_of_the_network_beside_its_contour(shape):
    picture = disc(shape)
    reach = max(1, *(-(-n // SIZE) for n in shape))
    certain = ~contour(picture > 127, reach)
    np.testing.assert_array_equal(labels_of(picture)[certain], (picture > 127)[certain])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_a_flipped_picture_gives_flipped_labels(shape, axis):
    picture = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    forwards, backwards = (stretched(each, (SIZE, SIZE)) for each in (picture, picture.flip(axis)))
    torch.testing.assert_close(backwards.flip(axis), forwards, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(labels_of(np.flip(disc(shape), axis)), np.flip(labels_of(disc(shape)), axis))


def test_rows_stay_rows():
    def upper_half(pictures):
        return torch.linspace(1, -1, SIZE).view(1, 1, -1, 1).expand_as(pictures)

    labels = labels_of(np.zeros((60, 20), np.uint8), upper_half)
    assert labels[:29].all() and not labels[31:].any()


def test_several_logits_give_the_largest_ones_index():
    def three_classes(pictures):
        return torch.cat([torch.zeros_like(pictures), pictures, 2 * pictures - 1], dim=1)  # largest: p<0, 0<p<1, never

    picture = np.full((20, 50), 10, np.uint8)
    picture[:, 25:] = 240
    labels = labels_of(picture, three_classes)
    assert not labels[:, :24].any() and (labels[:, 26:] == 1).all()


def test_it_equals_torchs_own_antialiased_resizing():
    pictures = torch.rand(2, 3, 97, 41, generator=torch.Generator().manual_seed(0))
    theirs = torch.nn.functional.interpolate(pictures, (SIZE, SIZE), mode="bilinear", antialias=True)
    torch.testing.assert_close(stretched(pictures, (SIZE, SIZE)), theirs, rtol=0, atol=1e-5)


def test_logits_come_back_as_what_the_picture_was_with_its_file_name():
    picture = MetaTensor(torch.zeros(1, 1, 50, 20), meta={"filename_or_obj": "a.png"})
    logits = INFERER(picture, itself)
    assert isinstance(logits, MetaTensor) and logits.shape == picture.shape
    assert logits.meta["filename_or_obj"] == "a.png"
    with pytest.raises(ValueError, match="must be pictures"):
        INFERER(torch.zeros(1, 1, 5, 5, 5), itself)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("given", [1, 3, 4])
def test_monais_transform_and_ours_make_the_same_of_a_file(given, dtype, channels):
    array = np.random.default_rng(2).integers(0, np.iinfo(dtype).max, (6, 4, given)).astype(dtype)
    held = MetaTensor(torch.from_numpy(np.moveaxis(array, 2, 0).astype(dtype if dtype == np.uint8 else np.int32)))
    theirs = PictureChannelsd("image", channels=channels)({"image": held})["image"]
    assert isinstance(theirs, MetaTensor) and theirs.dtype == torch.float32
    np.testing.assert_array_equal(theirs.numpy(), np.moveaxis(with_channels(unit_values(array), channels), 2, 0))


def test_pictures_are_listed_wherever_they_lie_and_their_absence_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="holds none of"):
        picture_files(tmp_path)
    (tmp_path / "deep").mkdir()
    for name in ("b.PNG", "deep/a.jpg"):
        Image.fromarray(disc((8, 8))).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    assert [Path(each["image"]).name for each in picture_files(tmp_path)] == ["b.PNG", "a.jpg"]
