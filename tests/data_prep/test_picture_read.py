from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep.picture_layout import COLOUR, GREY, Picture
from data_prep.picture_read import (
    above,
    clear_cut,
    foreground,
    instances_by_file,
    instances_by_value,
    read_channels,
    require_picture,
    union,
)
from pipeline.errors import CaseError

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def stored(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)
    return path


def picture(*masks: Path) -> Picture:
    return Picture(id="x", image=masks[0].with_name("x.png"), masks=masks)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_grey_is_grey_however_it_is_stored(tmp_path: Path, mode: str) -> None:
    path = stored(tmp_path / "x.png", RAMP, mode)
    np.testing.assert_array_equal(read_channels(path, GREY), RAMP)
    np.testing.assert_array_equal(read_channels(path, COLOUR), np.stack([RAMP] * 3, axis=2))


def test_colour_becomes_grey_as_pillow_does_it(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    grey = read_channels(stored(tmp_path / "x.png", array), GREY)
    np.testing.assert_allclose(grey, np.asarray(Image.fromarray(array).convert("L")), atol=1)


def test_sixteen_bits_are_stretched_from_their_own_range(tmp_path: Path) -> None:
    path = stored(tmp_path / "x.png", np.array([[1000, 2000], [3000, 4000]], np.uint16))
    np.testing.assert_array_equal(read_channels(path, GREY), [[0, 85], [170, 255]])
    assert not read_channels(stored(tmp_path / "flat.png", np.full((2, 2), 700, np.uint16)), GREY).any()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1], [0, 1]),  # stored as 0 and 1
        ([0, 255], [0, 1]),
        ([7, 127, 128, 250], [0, 0, 1, 1]),  # interpolated or noisy
        ([0, 0], [0, 0]),
        ([0, 65535], [0, 1]),
    ],
)
def test_a_binary_mask_is_cut_at_half_of_its_range(tmp_path: Path, values: list[int], expected: list[int]) -> None:
    dtype = np.uint16 if max(values) > 255 else np.uint8
    path = stored(tmp_path / "m.png", np.array([values], dtype))
    np.testing.assert_array_equal(foreground(path), [np.array(expected, bool)])


def test_the_noise_of_an_empty_jpeg_mask_is_no_object(tmp_path: Path) -> None:
    path = stored(tmp_path / "m.jpg", np.ones((8, 8), np.uint8))
    assert np.asarray(Image.open(path)).max() == 1  # the premise
    assert not foreground(path).any()


def test_a_mask_in_colours_is_refused(tmp_path: Path) -> None:
    array = np.zeros((4, 4, 3), np.uint8)
    array[1, 1] = (255, 0, 0)
    with pytest.raises(CaseError, match="mask in colours") as refused:
        foreground(stored(tmp_path / "m.png", array))
    assert refused.value.code == "BAD_LABELS"


def test_masks_of_two_sizes_are_refused_and_both_are_named(tmp_path: Path) -> None:
    one = stored(tmp_path / "one.png", np.zeros((3, 4), np.uint8))
    two = stored(tmp_path / "two.png", np.zeros((4, 3), np.uint8))
    for read in (union, instances_by_file):
        with pytest.raises(CaseError, match=r"two\.png has \(4, 3\) pixels and one\.png \(3, 4\)"):
            read(picture(one, two))


def test_a_pixel_in_two_instance_masks_belongs_to_the_later(tmp_path: Path) -> None:
    one = stored(tmp_path / "one.png", np.array([[255, 255, 0]], np.uint8))
    two = stored(tmp_path / "two.png", np.array([[0, 255, 255]], np.uint8))
    np.testing.assert_array_equal(instances_by_file(picture(one, two)), [[1, 2, 2]])


def test_instance_ids_above_255_are_kept(tmp_path: Path) -> None:
    ids = np.array([[0, 300, 65535]], np.uint16)
    found = instances_by_value(picture(stored(tmp_path / "m.png", ids)))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, ids)


def test_a_map_of_fractions_has_no_instances(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    Image.fromarray(np.array([[0.0, 0.5]], np.float32)).save(path)
    with pytest.raises(CaseError, match="whole numbers") as refused:
        instances_by_value(picture(path))
    assert refused.value.code == "BAD_LABELS"


def test_a_gzip_that_is_cut_short_is_one_refused_case(tmp_path: Path) -> None:
    (tmp_path / "m.ppm.gz").write_bytes(b"\x1f\x8b\x08\x00cut")
    with pytest.raises(CaseError) as refused:
        foreground(tmp_path / "m.ppm.gz")
    assert refused.value.code in ("UNREADABLE", "TRUNCATED")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    mask = stored(tmp_path / "m.png", RAMP)
    with pytest.raises(CaseError, match=r"x lacks .*/x\.png: add") as refused:
        require_picture(picture(mask))
    assert refused.value.code == "MISSING_FILE"


def test_a_mask_whose_object_depends_on_the_threshold_is_refused_until_one_is_given(tmp_path: Path) -> None:
    levels = np.zeros((8, 8), np.uint8)
    levels[2:6, 1:4], levels[2:6, 4:6] = 255, 127  # 12 pixels sure, 8 that half of the people chose
    asked = picture(stored(tmp_path / "m.png", levels))
    with pytest.raises(CaseError, match=r"m\.png has grey levels: say by --threshold") as refused:
        clear_cut(asked)
    assert refused.value.code == "GREY_MASK"
    np.testing.assert_array_equal(above(asked, 0), levels > 0)
    np.testing.assert_array_equal(above(asked, 0.5), levels == 255)


def test_soft_edges_are_no_grey_levels(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:60, :60]
    soft = np.clip(255 * (20.5 - np.hypot(rows - 30, columns - 30)), 0, 255).astype(np.uint8)
    assert len(np.unique(soft)) > 10  # the premise
    asked = picture(stored(tmp_path / "m.png", soft))
    np.testing.assert_array_equal(clear_cut(asked), soft >= 128)
    assert not clear_cut(picture(stored(tmp_path / "empty.png", np.zeros((5, 5), np.uint8)))).any()


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_a_threshold_is_a_share_of_the_range(tmp_path: Path, white: int) -> None:
    array = np.array([[0, white]], np.uint16 if white > 255 else np.uint8)
    np.testing.assert_array_equal(above(picture(stored(tmp_path / "m.png", array)), 0.5), [[0, 1]])
