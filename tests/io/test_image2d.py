"""Pictures: the array is what the file stores, index for index, without palette and alpha."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import CaseError
from pipeline.io.image2d import read_image, write_image
from pipeline.io.volume import Volume

GREY = np.random.default_rng(0).integers(0, 255, (5, 7)).astype(np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 255, (5, 7, 3)).astype(np.uint8)


def save(path: Path, array, mode: str | None = None, **options) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(CaseError) as error:
        read_image(path)
    return error.value.code


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("array", [GREY, COLOUR])
def test_lossless_formats_come_back_as_rows_and_columns(tmp_path, suffix, array):
    picture = read_image(save(tmp_path / f"a{suffix}", array))
    assert np.array_equal(picture.array, array) and np.array_equal(picture.affine, np.eye(3))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_stay_sixteen(tmp_path, suffix):
    deep = GREY.astype(np.uint16) * 257
    picture = read_image(save(tmp_path / f"a{suffix}", deep))
    assert picture.array.dtype == np.uint16 and np.array_equal(picture.array, deep)


def test_palettes_are_resolved_to_grey_only_where_all_entries_are_grey(tmp_path):
    colour = Image.fromarray(COLOUR).quantize(16)
    colour.save(tmp_path / "colour.png")
    assert np.array_equal(read_image(tmp_path / "colour.png").array, np.asarray(colour.convert("RGB")))
    grey = Image.fromarray(GREY)
    grey.putpalette([v for v in range(256) for _ in range(3)])
    grey.save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png").array, GREY)


def test_alpha_is_dropped_and_two_levels_become_0_and_255(tmp_path):
    alpha = np.dstack([COLOUR, GREY])
    assert np.array_equal(read_image(save(tmp_path / "a.png", alpha)).array, COLOUR)
    assert np.array_equal(read_image(save(tmp_path / "b.png", np.dstack([GREY, GREY]))).array, GREY)
    assert set(np.unique(read_image(save(tmp_path / "c.png", GREY > 99)).array)) == {0, 255}


def test_a_turned_photograph_and_its_mask_share_the_stored_pixels_and_the_tag(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = save(tmp_path / "a.jpg", COLOUR, exif=exif)
    assert read_image(photo).array.shape == (5, 7, 3)
    write_image(tmp_path / "mask.png", Volume(GREY, np.eye(3)), source=photo)
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.getexif()[0x0112] == 6 and np.array_equal(np.asarray(mask), GREY)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_come_back(tmp_path, dtype):
    labels = GREY.astype(dtype)
    write_image(tmp_path / "mask.png", Volume(labels, np.eye(3)))
    back = read_image(tmp_path / "mask.png").array
    assert back.dtype == dtype and np.array_equal(back, labels)


def test_labels_for_other_pixels_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="do not lie"):
        write_image(tmp_path / "m.png", Volume(GREY[1:], np.eye(3)), source=save(tmp_path / "a.png", GREY))


def test_several_pages_are_no_picture(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(GREY)])
    assert refusal(tmp_path / "a.tif") == "NOT_3D"


def test_infinite_values_are_refused(tmp_path):
    assert refusal(save(tmp_path / "a.tif", np.full((3, 3), np.inf, np.float32))) == "NON_FINITE"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_a_picture_cut_short_is_refused(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", np.random.default_rng(2).integers(0, 255, (64, 64)).astype(np.uint8))
    whole = path.read_bytes()
    for length in (0, 3, 20, len(whole) // 2, int(0.9 * len(whole))):
        path.write_bytes(whole[:length])
        assert refusal(path) in {"TRUNCATED", "UNREADABLE"}, length


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", GREY)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert refusal(path) == "OUT_OF_MEMORY"
