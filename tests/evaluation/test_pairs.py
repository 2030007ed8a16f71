"""What belongs together is found, what does not fit is named, and one grid means one place in the patient."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipeline.errors import CaseError, InputError
from pipeline.evaluation.pairs import Pair, find_pairs, read_pair


def ids(predictions: Path, references: Path) -> list[str]:
    return [pair.id for pair in find_pairs(predictions, references)[0]]


def only_pair(predictions: Path, references: Path) -> Pair:
    (pair,), _ = find_pairs(predictions, references)
    return pair


@pytest.mark.parametrize(
    "name", ["a.nii.gz", "a.nii", "a_label.nii.gz", "a_seg.nii.gz", "a-mask.nii.gz", "a_GT.nii.gz"]
)
def test_a_reference_is_found_by_its_name_without_the_ending(predictions, references, write, name: str) -> None:
    write(predictions / "a.nii.gz", 1, 2)
    write(references / name, 2, 3, 4)
    assert ids(predictions, references) == ["a"]


def test_cases_in_subfolders_are_told_apart(predictions, references, write) -> None:
    for folder in (predictions, references):
        write(folder / "x" / "a.nii.gz", 1)
        write(folder / "y" / "a.nii.gz", 2)
    assert ids(predictions, references) == ["x/a", "y/a"]


def test_two_files_belong_together_whatever_their_names(tmp_path: Path, write) -> None:
    write(tmp_path / "mine.nii.gz", 1)
    write(tmp_path / "yours.nii.gz", 1)
    assert ids(tmp_path / "mine.nii.gz", tmp_path / "yours.nii.gz") == ["mine"]


def test_a_reference_without_prediction_is_refused_by_name(predictions, references, write) -> None:
    write(predictions / "a.nii.gz", 1)
    write(references / "a.nii.gz", 1)
    write(references / "b.nii.gz", 1)
    with pytest.raises(InputError, match=r"1 of 2 references .* \(b\)"):
        find_pairs(predictions, references)


def test_two_references_of_one_case_are_refused_by_name(predictions, references, write) -> None:
    write(predictions / "a.nii.gz", 1)
    write(references / "a.nii.gz", 1)
    write(references / "a_label.nii.gz", 1)
    with pytest.raises(InputError, match=r"a\.nii\.gz and .*a_label\.nii\.gz"):
        find_pairs(predictions, references)


def test_a_prediction_without_reference_is_left_out_and_told(predictions, references, write) -> None:
    for name in ("a", "b"):
        write(predictions / f"{name}.nii.gz", 1)
    write(references / "a.nii.gz", 1)
    pairs, unmatched = find_pairs(predictions, references)
    assert ([pair.id for pair in pairs], unmatched) == (["a"], ["b"])


def test_an_empty_folder_is_refused(predictions, references, write) -> None:
    predictions.mkdir()
    write(references / "a.nii.gz", 1)
    with pytest.raises(InputError, match="no scan in"):
        find_pairs(predictions, references)


@pytest.mark.parametrize("drawn", ["overlays/a.png", "trajectory/a/levels.png"])
def test_the_pictures_of_segment_are_no_predictions(predictions, references, write, caplog, drawn: str) -> None:
    caplog.set_level("INFO")
    write(predictions / "a.nii.gz", 1)
    write(references / "a.nii.gz", 1)
    (predictions / drawn).parent.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(predictions / drawn)
    assert find_pairs(predictions, references)[1] == []
    assert "1 of these" in caplog.text


@pytest.mark.parametrize(("other", "named"), [({"shape": (4, 5, 7)}, "(4, 5, 7)"), ({"shift_mm": 2.5}, "2.5")])
def test_two_grids_are_not_compared_and_both_are_named(predictions, references, write, other, named: str) -> None:
    write(references / "a.nii.gz", 1)
    write(predictions / "a.nii.gz", 1, **other)
    with pytest.raises(CaseError) as refusal:
        read_pair(only_pair(predictions, references), resample=False)
    assert refusal.value.code == "GRID_MISMATCH"
    assert named in refusal.value.message
    assert "(4, 5, 6)" in refusal.value.message
    assert "--resample-reference" in refusal.value.message


def test_a_reference_is_resampled_only_when_asked(predictions, references, write) -> None:
    write(predictions / "a.nii.gz", 0, shape=(4, 5, 6))
    write(references / "a.nii.gz", 0, shape=(4, 5, 6), shift_mm=1.2)  # its voxel (0, 0, 0) lies nearest to (1, 0, 0)
    prediction, reference, resampled = read_pair(only_pair(predictions, references), resample=True)
    assert resampled
    assert reference.same_grid(prediction)
    assert np.argwhere(reference.array).tolist() == [[1, 0, 0]]


def test_axes_in_another_order_are_the_same_grid(predictions, references, write) -> None:
    write(references / "a.nii.gz", 7, 30)
    stored = nib.load(references / "a.nii.gz")
    turned = stored.as_reoriented(np.array([[1, -1], [2, 1], [0, -1]]))
    predictions.mkdir()
    nib.save(turned, predictions / "a.nii.gz")
    assert turned.shape != stored.shape
    prediction, reference, resampled = read_pair(only_pair(predictions, references), resample=False)
    assert not resampled
    assert np.array_equal(prediction.array, reference.array)


def test_pictures_of_two_sizes_are_never_resampled(predictions, references) -> None:
    for folder, size in ((predictions, (8, 8)), (references, (8, 9))):
        folder.mkdir()
        Image.new("L", size).save(folder / "a.png")
    with pytest.raises(CaseError, match="pixel by pixel") as refusal:
        read_pair(only_pair(predictions, references), resample=True)
    assert refusal.value.code == "GRID_MISMATCH"


def test_a_dicom_segmentation_is_paired_by_its_file_and_laid_onto_the_reference(
    predictions, references, shared_data: Path
) -> None:
    """Its file holds the three slices with something in them; the reference is the whole scan, axes turned."""
    folder = shared_data / "dicom" / "dcmqi" / "segmentations"
    for name in ("a", "b"):  # two of one series in a folder: no folder can name them
        predictions.mkdir(exist_ok=True)
        (predictions / f"{name}.dcm").write_bytes((folder / "liver.dcm").read_bytes())
    from pipeline.io.dicom_seg import read_segmentation

    segmentation = read_segmentation(folder / "liver.dcm")
    whole = np.pad(segmentation.array, ((2, 3), (0, 0), (0, 0)))
    affine = segmentation.affine.copy()
    affine[:3, 3] -= 2 * affine[:3, 0]
    references.mkdir()
    for name in ("a", "b"):
        nib.save(nib.Nifti1Image(whole, affine), references / f"{name}.nii.gz")
    pairs, unmatched = find_pairs(predictions, references)
    assert ([pair.id for pair in pairs], unmatched) == (["a", "b"], [])
    prediction, reference, resampled = read_pair(pairs[0], resample=False)
    assert not resampled
    assert reference.array.shape == whole.shape
    assert np.array_equal(prediction.array, whole)
