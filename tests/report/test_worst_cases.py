"""The sheet of worst cases shows where two maps differ, and which is which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.io.volume import Volume
from pipeline.report.panels import LINE, PANEL_WIDTH
from pipeline.report.worst_cases import GREY, WITHIN, Shown, worst_cases

YELLOW, CYAN, WHITE, BLACK = (255, 208, 0), (0, 213, 255), (255, 255, 255), (0, 0, 0)
NAMES = {1: "kidney", 2: "tumour"}


def maps(shape=(80, 80, 12), **boxes: tuple[int, int]) -> Volume:
    """Label 1 in the columns start..stop of all slices from the third to the last but two."""
    array = np.zeros(shape, np.uint8)
    for start, stop in boxes.values():
        array[start:stop, 30:50, 3:-3] = 1
    return Volume(array, np.eye(4))


def draw(path: Path, *cases: Shown) -> np.ndarray:
    worst_cases(cases, path / "worst.png", names=NAMES)
    return np.asarray(Image.open(path / "worst.png"))


def tile(sheet: np.ndarray, column: int = 0) -> np.ndarray:
    """A panel of the only row, without the text above."""
    return sheet[3 * LINE :, column * PANEL_WIDTH : (column + 1) * PANEL_WIDTH]


def columns(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """How far to the right a colour is found, in widths of the panel."""
    return np.nonzero((picture == colour).all(-1))[1] / PANEL_WIDTH


def test_the_prediction_is_in_its_colour_and_the_reference_dashed(tmp_path: Path) -> None:
    picture = tile(draw(tmp_path, Shown("a", maps(box=(20, 40)), maps(box=(40, 60)))))
    # x runs to the patient's right, which is on the left of the picture: the prediction lies right of the reference
    assert columns(picture, YELLOW).min() > columns(picture, WHITE).max()
    assert columns(picture, BLACK).size == pytest.approx(columns(picture, WHITE).size, rel=0.2)


def test_both_cover_each_other_where_they_agree(tmp_path: Path) -> None:
    picture = tile(draw(tmp_path, Shown("a", maps(box=(20, 40)), maps(box=(20, 40)))))
    assert columns(picture, YELLOW).size
    assert not columns(picture, WHITE).size


def test_without_an_image_the_area_of_the_reference_is_brighter(tmp_path: Path) -> None:
    picture = tile(draw(tmp_path, Shown("a", maps(), maps(box=(30, 50)))))
    middle, corner = picture[picture.shape[0] // 2, PANEL_WIDTH // 2], picture[2, 2]
    assert middle == pytest.approx(WITHIN, abs=1)
    assert corner == pytest.approx(GREY, abs=1)
    assert not columns(picture, YELLOW).size  # a missed label


def test_the_slice_of_a_third_with_the_most_differences_is_shown(tmp_path: Path) -> None:
    prediction, reference = maps(shape=(80, 80, 15), box=(20, 40)), maps(shape=(80, 80, 15), box=(20, 40))
    for k in (4, 7, 10):  # the labelled ones are 3..11
        prediction.array[60:70, 30:50, k] = 1
    image = Volume(np.zeros((80, 80, 15), np.int16), np.eye(4))
    for k, value in ((4, 50), (7, 150), (10, 250)):
        image.array[..., k] = value
    sheet = draw(tmp_path, Shown("a", prediction, reference, image))
    greys = [int(tile(sheet, column)[3, 3, 0]) for column in range(3)]
    assert greys == [0, pytest.approx(127, abs=2), 255]


def test_a_small_finding_is_enlarged_but_keeps_surroundings_of_4_cm(tmp_path: Path) -> None:
    small = Volume(np.zeros((400, 400, 5), np.uint8), np.diag([0.5, 0.5, 2, 1]))
    small.array[200:204, 100:104, 2] = 1
    found = columns(tile(draw(tmp_path, Shown("a", small, small))), YELLOW)
    assert found.max() - found.min() == pytest.approx(4 * 0.5 / 40, abs=0.01)
    assert (found.max() + found.min()) / 2 == pytest.approx(0.5, abs=0.02)


def test_a_label_at_the_edge_and_one_as_large_as_the_image_are_shown(tmp_path: Path) -> None:
    corner, whole = (Volume(np.zeros((60, 60, 3), np.uint8), np.eye(4)) for _ in range(2))
    corner.array[:5, :5] = 2
    whole.array[:] = 2
    picture = tile(draw(tmp_path, Shown("a", corner, whole)))
    assert columns(picture, CYAN).min() > 0.9
    assert columns(picture, WHITE).min() == 0


def test_a_colour_photograph_is_one_panel(tmp_path: Path) -> None:
    mask = Volume(np.zeros((100, 100), np.uint8), np.eye(3))
    mask.array[40:60, 40:60] = 1
    photograph = Volume(np.full((100, 100, 3), (200, 10, 10), np.uint8), np.eye(3))
    photograph.array[0, 0], photograph.array[-1, -1] = 0, 255
    sheet = draw(tmp_path, Shown("a", mask, mask, photograph))
    assert columns(tile(sheet), YELLOW).size
    assert not tile(sheet, 1).any()


def test_two_empty_maps_are_shown_as_they_are(tmp_path: Path) -> None:
    assert draw(tmp_path, Shown("a", maps(), maps())).shape == (3 * LINE + PANEL_WIDTH, 3 * PANEL_WIDTH, 3)


def test_every_case_has_a_row_and_no_case_no_file(tmp_path: Path) -> None:
    one = draw(tmp_path, Shown("a", maps(box=(20, 40)), maps()))
    two = draw(tmp_path, *[Shown("a", maps(box=(20, 40)), maps())] * 2)
    assert two.shape[0] - LINE == 2 * (one.shape[0] - LINE)
    worst_cases([], tmp_path / "none.png", names=NAMES)
    assert not (tmp_path / "none.png").exists()


def test_labels_that_nobody_asked_for_are_not_drawn(tmp_path: Path) -> None:
    prediction, reference = maps(box=(20, 40)), maps(box=(20, 40))
    prediction.array[60:70, 60:70] = 3
    picture = tile(draw(tmp_path, Shown("a", prediction, reference)))
    assert columns(picture, YELLOW).min() == pytest.approx(1 - columns(picture, YELLOW).max(), abs=0.02)
