"""Channels of pictures: what a file's numbers mean, and grey and colour made of each other."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.io.channels import is_coloured, unit_values, with_channels

BLACK_GREY_WHITE = np.array([[0, 51, 255]], np.uint8)


def test_8_bits_are_divided_by_255_even_where_a_picture_is_dark() -> None:
    np.testing.assert_allclose(unit_values(BLACK_GREY_WHITE), [[0, 0.2, 1]], rtol=1e-6)
    np.testing.assert_allclose(unit_values(np.full((2, 2), 51, np.uint8)), 0.2, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_deeper_pictures_are_stretched_from_their_own_range(dtype: type) -> None:
    values = unit_values(np.array([[100, 120, 4100]], dtype))
    np.testing.assert_allclose(values, [[0, 20 / 4000, 1]], rtol=1e-6)
    assert values.dtype == np.float32


def test_one_range_is_stretched_over_all_channels_so_that_the_hue_stays() -> None:
    colours = np.array([[[0, 1000, 4000]]], np.uint16)
    np.testing.assert_allclose(unit_values(colours), [[[0, 0.25, 1]]])


def test_a_deep_picture_of_one_value_is_black() -> None:
    assert not unit_values(np.full((3, 4), 4000, np.uint16)).any()


def test_colour_becomes_its_luminance_and_grey_is_repeated() -> None:
    red_green_blue = np.eye(3, dtype=np.float32)[None]
    np.testing.assert_allclose(with_channels(red_green_blue, 1), [[[0.299], [0.587], [0.114]]])
    grey = np.float32([[0.1, 0.7]])
    np.testing.assert_array_equal(with_channels(grey, 3), np.stack([grey] * 3, axis=2))


def test_grey_stored_as_colour_comes_back() -> None:
    grey = np.random.default_rng(0).random((5, 7), dtype=np.float32)
    np.testing.assert_allclose(with_channels(with_channels(grey, 3), 1)[:, :, 0], grey, atol=1e-6)


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_is_dropped(colours: int, channels: int) -> None:
    opaque = np.random.default_rng(0).random((4, 5, colours), dtype=np.float32)
    with_alpha = np.concatenate([opaque, np.zeros((4, 5, 1), np.float32)], axis=2)
    np.testing.assert_array_equal(with_channels(with_alpha, channels), with_channels(opaque, channels))


def test_other_numbers_of_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="1 and 3"):
        with_channels(np.zeros((2, 2, 5), np.float32), 1)
    with pytest.raises(ValueError, match="1 and 3"):
        with_channels(np.zeros((2, 2), np.float32), 2)


def test_a_picture_is_coloured_where_its_channels_differ_by_more_than_compression_makes_them() -> None:
    grey = np.full((4, 4, 3), 0.5, np.float32)
    assert not is_coloured(grey) and not is_coloured(grey[:, :, 0])
    grey[1, 1] += [0, 0, 31 / 255]
    assert not is_coloured(grey)
    grey[2, 2] = [0.9, 0.5, 0.5]
    assert is_coloured(grey)
