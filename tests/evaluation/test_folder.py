"""What belongs together is compared, what does not fit is named, and nothing is left out in silence."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipeline.errors import InputError
from pipeline.evaluation.folder import evaluate_folder, pairs
from pipeline.metrics.overlap import Overlap


def write(path: Path, *voxels: int, labels=1, shape=(4, 5, 6), shift_mm=0.0) -> None:
    array = np.zeros(shape, np.uint8)
    array.flat[list(voxels)] = labels
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[0, 3] = shift_mm
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    return tmp_path / "predictions"


@pytest.fixture
def references(tmp_path: Path) -> Path:
    return tmp_path / "references"


@pytest.mark.parametrize(
    "name", ["a.nii.gz", "a.nii", "a_label.nii.gz", "a_seg.nii.gz", "a-mask.nii.gz", "a_GT.nii.gz"]
)
def test_a_reference_is_found_by_its_name_without_the_ending(predictions: Path, references: Path, name: str) -> None:
    write(predictions / "a.nii.gz", 1, 2)
    write(references / name, 2, 3, 4)
    evaluation = evaluate_folder(predictions, references, {1: "kidney"})
    assert evaluation.cases == {"a": {1: Overlap(shared=1, prediction=2, reference=3)}}


def test_cases_in_subfolders_are_told_apart(predictions: Path, references: Path) -> None:
    for folder in (predictions, references):
        write(folder / "x" / "a.nii.gz", 1)
        write(folder / "y" / "a.nii.gz", 2)
    assert [pair.id for pair in pairs(predictions, references)[0]] == ["x/a", "y/a"]


def test_two_files_belong_together_whatever_their_names(tmp_path: Path) -> None:
    write(tmp_path / "mine.nii.gz", 1)
    write(tmp_path / "yours.nii.gz", 1)
    evaluation = evaluate_folder(tmp_path / "mine.nii.gz", tmp_path / "yours.nii.gz")
    assert evaluation.cases["mine"][1].dice == 1


def test_a_reference_without_prediction_is_refused_by_name(predictions: Path, references: Path) -> None:
    write(predictions / "a.nii.gz", 1)
    write(references / "a.nii.gz", 1)
    write(references / "b.nii.gz", 1)
    with pytest.raises(InputError, match=r"1 of 2 references .* \(b\)"):
        pairs(predictions, references)


def test_two_references_of_one_case_are_refused_by_name(predictions: Path, references: Path) -> None:
    write(predictions / "a.nii.gz", 1)
    write(references / "a.nii.gz", 1)
    write(references / "a_label.nii.gz", 1)
    with pytest.raises(InputError, match=r"a\.nii\.gz and .*a_label\.nii\.gz"):
        pairs(predictions, references)


def test_a_prediction_without_reference_is_left_out_and_told(predictions: Path, references: Path) -> None:
    write(predictions / "a.nii.gz", 1)
    write(predictions / "b.nii.gz", 1)
    write(references / "a.nii.gz", 1)
    evaluation = evaluate_folder(predictions, references)
    assert (list(evaluation.cases), evaluation.unmatched) == (["a"], ["b"])


def test_the_overlays_of_segment_are_no_predictions(predictions: Path, references: Path) -> None:
    write(predictions / "a.nii.gz", 1)
    write(references / "a.nii.gz", 1)
    (predictions / "overlays").mkdir()
    Image.new("RGB", (8, 8)).save(predictions / "overlays" / "a.png")
    assert evaluate_folder(predictions, references).unmatched == []


def test_two_grids_are_not_compared_and_both_are_named(predictions: Path, references: Path) -> None:
    for name in ("a", "b", "c"):
        write(references / f"{name}.nii.gz", 1)
    write(predictions / "a.nii.gz", 1)
    write(predictions / "b.nii.gz", 1, shape=(4, 5, 7))
    write(predictions / "c.nii.gz", 1, shift_mm=2.5)
    evaluation = evaluate_folder(predictions, references)
    assert list(evaluation.cases) == ["a"]
    assert {error.code for error in evaluation.failed.values()} == {"GRID_MISMATCH"}
    assert "(4, 5, 7)" in evaluation.failed["b"].message
    assert "(4, 5, 6)" in evaluation.failed["b"].message
    assert "2.5" in evaluation.failed["c"].message


def test_a_map_that_is_no_label_map_fails_alone(predictions: Path, references: Path) -> None:
    for name in ("a", "b"):
        write(references / f"{name}.nii.gz", 1)
    write(predictions / "a.nii.gz", 1)
    probabilities = np.linspace(0, 1, 120, dtype=np.float32).reshape(4, 5, 6)
    nib.save(nib.Nifti1Image(probabilities, np.diag([1.0, 1.0, 2.0, 1.0])), predictions / "b.nii.gz")
    evaluation = evaluate_folder(predictions, references)
    assert list(evaluation.cases) == ["a"]
    assert evaluation.failed["b"].code == "BAD_LABELS"


def test_all_labels_that_occur_anywhere_are_scored_by_default(predictions: Path, references: Path) -> None:
    write(predictions / "a.nii.gz", 1, 2, labels=[1, 2])
    write(references / "a.nii.gz", 1, 2, labels=[1, 5])
    evaluation = evaluate_folder(predictions, references)
    assert evaluation.names == {1: "1", 2: "2", 5: "5"}
    assert [evaluation.cases["a"][label].status for label in (1, 2, 5)] == ["ok", "false_alarm", "missed"]


def test_white_is_one_in_a_mask_picture(predictions: Path, references: Path) -> None:
    for folder, white in ((predictions, 1), (references, 255)):
        folder.mkdir()
        mask = np.zeros((6, 7), np.uint8)
        mask[2:4] = white
        Image.fromarray(mask).save(folder / "a.png")
    assert evaluate_folder(predictions, references).cases["a"][1].dice == 1
