"""Three kinds of maps, their units, and what is refused with the name of the file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import CaseError
from pipeline.evaluation.measures import CaseScores, InstanceMeasure, LabelMeasure, Measure, SaliencyMeasure
from pipeline.evaluation.pairs import Pair
from pipeline.io.discover import Case
from pipeline.io.volume import Volume
from pipeline.metrics.overlap import Overlap

PAIR = Pair("a", Case("a", "nifti", (Path("p/a.nii.gz"),)), Case("a", "nifti", (Path("r/a.nii.gz"),)))
VOXEL_MM = np.diag([1.0, 1.0, 2.0, 1.0])
PIXELS = np.eye(3)


def score(measure: Measure, prediction, reference, affine=PIXELS) -> CaseScores:
    return measure(PAIR, Volume(np.asarray(prediction), affine), Volume(np.asarray(reference), affine))


def values(scores: CaseScores, label: str) -> dict[str, float]:
    return {row.metric: row.value for row in scores.rows if row.label == label}


def line(*labels: int, dtype=np.uint8):
    """A map of one row along x."""
    return np.array(labels, dtype).reshape(-1, 1, 1)


def test_labels_have_names_units_and_voxel_counts() -> None:
    scores = score(
        LabelMeasure(names={1: "kidney", 2: "cyst"}), line(1, 1, 0, 0, 0), line(0, 1, 1, 1, 0), affine=VOXEL_MM
    )
    kidney = values(scores, "kidney")
    assert kidney["dice"] == 2 * 1 / (2 + 3)
    assert kidney["hd"] == 2  # mm: from x = 3 to x = 1
    assert kidney["volume_difference"] == pytest.approx((2 - 3) * 2e-3)
    units = {row.metric: row.unit for row in scores.rows}
    assert (units["dice"], units["hd"], units["volume_difference"]) == ("1", "mm", "ml")
    assert scores.counts == {"kidney": Overlap(1, 2, 3), "cyst": Overlap(0, 0, 0)}
    assert (scores.voxel_volume, scores.volume_unit) == (pytest.approx(2e-3), "ml")


def test_a_named_label_that_neither_map_has_is_both_empty() -> None:
    scores = score(LabelMeasure(names={2: "cyst"}), line(0, 0), line(0, 0), affine=VOXEL_MM)
    assert {row.status for row in scores.rows} == {"both_empty"}
    assert all(math.isnan(row.value) for row in scores.rows)


@pytest.mark.parametrize(("missing", "distance"), [("diagonal", math.hypot(3, 1, 2)), ("inf", math.inf)])
def test_a_missed_label_has_the_distance_that_was_asked_for(missing, distance: float) -> None:
    scores = score(LabelMeasure(missing=missing), line(0, 0, 0), line(0, 1, 0), affine=VOXEL_MM)
    assert values(scores, "1")["hd95"] == pytest.approx(distance)
    assert {row.status for row in scores.rows} == {"missed"}


@pytest.mark.parametrize(("one", "other", "file"), [(3, 1, "p/a.nii.gz"), (1, 3, "r/a.nii.gz")])
def test_a_label_that_nobody_named_is_refused_with_value_and_file(one: int, other: int, file: str) -> None:
    with pytest.raises(CaseError, match=rf"{file} holds the label 3.*--labels 3=NAME") as refusal:
        score(LabelMeasure(names={1: "kidney"}), line(one, 1), line(other, 1), affine=VOXEL_MM)
    assert refusal.value.code == "BAD_LABELS"


@pytest.mark.parametrize("bad", [np.array([0.2, 0.7]), np.array([-1, 0]), np.array([0.0, np.nan])])
@pytest.mark.parametrize("measure", [LabelMeasure(), InstanceMeasure()])
def test_what_is_no_label_map_is_refused_with_its_file(measure: Measure, bad) -> None:
    good = line(0, 1)
    for first, second, file in ((bad, good, "p/a.nii.gz"), (good, bad, "r/a.nii.gz")):
        with pytest.raises(CaseError, match=file) as refusal:
            score(measure, first.reshape(2, 1, 1), second.reshape(2, 1, 1), affine=VOXEL_MM)
        assert refusal.value.code == "BAD_LABELS"


def test_floats_that_are_whole_are_labels() -> None:
    scores = score(LabelMeasure(), line(0, 2, dtype=np.float32), line(0, 2), affine=VOXEL_MM)
    assert values(scores, "2")["dice"] == 1


def test_a_picture_is_measured_in_pixels_and_white_is_one() -> None:
    mask = np.zeros((6, 7), np.uint8)
    mask[2:4] = 1
    scores = score(LabelMeasure(names={1: "polyp"}), mask, mask * 255)
    assert values(scores, "polyp")["dice"] == 1
    assert {row.unit for row in scores.rows} == {"1", "px", "px2"}


def test_a_colour_picture_is_no_label_map() -> None:
    with pytest.raises(CaseError, match=r"p/a\.nii\.gz has 3 channels"):
        score(LabelMeasure(), np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8))


def test_a_grey_picture_is_no_label_map_unless_its_values_are_named() -> None:
    grey = np.arange(200, dtype=np.uint8).reshape(10, 20)
    with pytest.raises(CaseError, match=r"r/a\.nii\.gz holds 200 different values.*--saliency") as refusal:
        score(LabelMeasure(), grey % 100, grey)
    assert refusal.value.code == "BAD_LABELS"
    assert score(LabelMeasure(names={k: f"organ {k}" for k in range(1, 200)}), grey, grey).counts["organ 7"].dice == 1


def test_objects_are_matched_whatever_their_numbers() -> None:
    """Of two objects of 4 pixels one is found whole, of the other 2 pixels; one is invented."""
    reference, prediction = np.zeros((8, 8), np.uint16), np.zeros((8, 8), np.uint16)
    reference[0, :4], reference[2, :4] = 700, 12
    prediction[0, :4], prediction[2, :2], prediction[6, :4] = 3, 300, 9
    scores = score(InstanceMeasure(), prediction, reference)
    found = values(scores, "objects")
    assert found["ap50"] == 1 / (1 + 2 + 1)  # IoU of the half found object is 0.5, not above
    assert found["pq"] == pytest.approx(1 / (1 + 2 / 2 + 1 / 2))
    assert found["aji"] == (4 + 2) / (4 + 4 + 4)
    assert found["count_error"] == 1
    assert scores.counts["objects"] == Overlap(6, 10, 8)
    assert scores.sums["at_half"] == (1, 2, 1, 1.0)


@pytest.mark.parametrize(("missing", "distance"), [("diagonal", math.hypot(8, 6)), ("inf", math.inf)])
def test_an_image_whose_objects_are_all_missed(missing, distance: float) -> None:
    reference = np.zeros((8, 6), np.uint8)
    reference[0, 0] = 1
    found = score(InstanceMeasure(missing=missing), np.zeros((8, 6), np.uint8), reference)
    assert values(found, "objects")["object_hausdorff"] == distance
    assert {row.status for row in found.rows} == {"missed"}


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1), (np.uint8, 1)])
def test_probability_maps_are_scaled_by_their_type(dtype, white: int) -> None:
    reference = np.zeros((20, 20), np.uint8)
    reference[5:12, 5:12] = 255
    prediction = (reference > 0).astype(dtype) * dtype(white)
    prediction[:, :3] = white  # 60 false alarms of full strength
    found = values(score(SaliencyMeasure(), prediction, reference), "foreground")
    assert found["mae"] == pytest.approx(60 / 400)
    assert found["adaptive_f_beta"] == pytest.approx(1.3 * 49 / (0.3 * 49 + 49 + 60))


def test_half_grey_is_half() -> None:
    found = score(SaliencyMeasure(), np.full((10, 10), 51, np.uint8), np.full((10, 10), 1, np.uint8))
    assert values(found, "foreground")["mae"] == pytest.approx(1 - 51 / 255)


@pytest.mark.parametrize(
    "bad", [np.full((4, 4), 1.5), np.full((4, 4), np.nan), np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.int32)]
)
def test_what_is_no_probability_map_is_refused_with_its_file(bad) -> None:
    with pytest.raises(CaseError, match=r"p/a\.nii\.gz") as refusal:
        score(SaliencyMeasure(), bad, np.zeros((4, 4), np.uint8))
    assert refusal.value.code == "BAD_MAP"


def test_a_volume_of_one_slice_is_a_picture_and_one_of_several_is_not() -> None:
    one = np.zeros((20, 20, 1), np.float32)
    one[4:9, 4:9] = 1
    assert values(score(SaliencyMeasure(), one, one, affine=np.eye(4)), "foreground")["mae"] == 0
    with pytest.raises(CaseError, match="no picture"):
        score(SaliencyMeasure(), np.zeros((4, 4, 2)), np.zeros((4, 4, 2)), affine=np.eye(4))
