"""The picture shows the right slices the right way round, in true proportion."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipeline.io.volume import Volume
from pipeline.report.overlay import COLUMNS, overlay
from pipeline.report.panels import LINE, PANEL_WIDTH, TALLEST_PANEL

YELLOW = (255, 208, 0)  # the first colour


def draw(path: Path, image: Volume, labels: Volume, **options) -> np.ndarray:
    overlay(image, labels, path, names={1: "kidney"}, **options)
    return np.asarray(Image.open(path))


def scan(orientation: str = "RAS") -> tuple[Volume, Volume]:
    """20 x 40 x 12 voxels of 2 x 1 x 5 mm: a label at the patient's right and front, in slices 4 to 6 from below."""
    array, mask = np.full((20, 40, 12), -1000, np.int16), np.zeros((20, 40, 12), np.uint8)
    mask[14:18, 30:36, 3:6] = 1
    affine = np.diag([2.0, 1.0, 5.0, 1.0])
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(orientation))
    )
    turned = affine @ nib.orientations.inv_ornt_aff(turn, array.shape)
    arrays = (nib.orientations.apply_orientation(each, turn) for each in (array, mask))
    image, labels = (Volume(each, turned) for each in arrays)
    return image, labels


def contour(picture: np.ndarray, panel: int = 0) -> np.ndarray:
    """(row, column) of the contour's pixels in a panel, from 0 to 1; the text above is left out."""
    rows = -(-3 // COLUMNS)
    height = (picture.shape[0] - LINE) // rows - LINE
    tile = picture[2 * LINE : 2 * LINE + height, panel * PANEL_WIDTH : (panel + 1) * PANEL_WIDTH]
    return np.argwhere((tile == YELLOW).all(-1)) / tile.shape[:2]


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "LAI", "SPR", "PSL"])
def test_right_is_on_the_left_and_the_front_on_top_whatever_the_storage(tmp_path: Path, orientation: str) -> None:
    picture = draw(tmp_path / "a.png", *scan(orientation))
    assert picture.shape == (LINE + LINE + PANEL_WIDTH, 3 * PANEL_WIDTH, 3)  # three slices of 40 mm x 40 mm
    places = contour(picture)
    # x of 14..17 of 20 from the left side, mirrored; y of 30..35 of 40 from the back, mirrored
    assert places[:, 1].min() == pytest.approx(2 / 20, abs=0.01)
    assert places[:, 1].max() == pytest.approx(6 / 20, abs=0.01)
    assert places[:, 0].min() == pytest.approx(4 / 40, abs=0.01)
    assert places[:, 0].max() == pytest.approx(10 / 40, abs=0.01)


@pytest.mark.parametrize("shape", [(1, 256, 2), (256, 1, 2)])
def test_a_strip_makes_a_picture_of_bounded_size(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    image, labels = (Volume(np.zeros(shape, dtype), np.eye(4)) for dtype in (np.int16, np.uint8))
    rows, columns, _ = draw(tmp_path / "a.png", image, labels).shape
    assert rows <= 2 * LINE + TALLEST_PANEL
    assert columns == 2 * PANEL_WIDTH


def test_every_labelled_slice_has_its_contour(tmp_path: Path) -> None:
    picture = draw(tmp_path / "a.png", *scan())
    assert all(len(contour(picture, panel)) for panel in range(3))


def test_a_scan_in_which_nothing_was_found_is_shown_all_the_same(tmp_path: Path) -> None:
    image, labels = scan()
    picture = draw(tmp_path / "a.png", image, Volume(labels.array * 0, labels.affine))
    assert picture.shape[0] == LINE + 2 * (LINE + PANEL_WIDTH)  # six slices
    assert not (picture == YELLOW).all(-1).any()
    assert picture[:LINE].any()  # the headline says so


def test_the_window_makes_black_and_white(tmp_path: Path) -> None:
    values = np.tile(np.linspace(-1000, 1000, 21)[:, None], (1, 21))
    nothing = Volume(np.zeros((21, 21), np.uint8), np.eye(3))
    picture = draw(tmp_path / "a.png", Volume(values, np.eye(3)), nothing, window=(-100, 100))[2 * LINE :]
    rows = picture[:, PANEL_WIDTH // 2, 0]
    assert (rows[: len(rows) // 3] == 0).all()
    assert (rows[-len(rows) // 3 :] == 255).all()


def test_a_colour_photograph_keeps_its_colours(tmp_path: Path) -> None:
    photograph = np.zeros((8, 8, 3), np.uint8)
    photograph[..., 0] = 255
    picture = draw(tmp_path / "a.png", Volume(photograph, np.eye(3)), Volume(np.zeros((8, 8), np.uint8), np.eye(3)))
    assert (picture[2 * LINE :] == (255, 0, 0)).all()


def test_a_single_slice_is_enough(tmp_path: Path) -> None:
    image, labels = scan()
    first, mask = Volume(image.array[..., :1], image.affine), Volume(labels.array[..., 3:4], labels.affine)
    picture = draw(tmp_path / "a.png", first, mask)
    assert picture.shape == (LINE + LINE + PANEL_WIDTH, PANEL_WIDTH, 3)
    assert len(contour(picture))


def test_the_mask_that_was_refined_is_dashed_and_its_slices_are_shown_too(tmp_path):
    image, labels = scan()
    initial = Volume(np.zeros_like(labels.array), labels.affine)
    initial.array[4:10, 8:20, 9] = 1
    plain, dashed = draw(tmp_path / "a.png", image, labels), draw(tmp_path / "b.png", image, labels, initial=initial)
    below = np.s_[LINE:]
    assert (plain[below] == 255).all(axis=-1).sum() < (dashed[below] == 255).all(axis=-1).sum()
    assert dashed.shape[0] > plain.shape[0]  # slices 4 to 10: six panels in two rows, not three in one
