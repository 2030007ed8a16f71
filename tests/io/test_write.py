"""Labels are written in the format of their suffix, and come back as they were."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.errors import CaseError, InputError
from pipeline.io.discover import Case, read_case
from pipeline.io.volume import Volume
from pipeline.io.write import check_writable, read_back, write_labels, write_per_label, write_probabilities

LABELS = np.random.default_rng(0).integers(0, 4, (5, 6, 7))


def test_a_full_disk_while_labels_are_written_leaves_nothing():
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    with pytest.raises(CaseError) as caught:
        write_labels(Path("/dev/full/a.nii.gz"), Volume(LABELS, np.eye(4)))
    assert caught.value.code == "WRITE_FAILED"


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".nii.gz", "nifti"), (".nii", "nifti"), (".mha", "metaimage"), (".nrrd", "metaimage")]
)
def test_labels_of_a_volume_come_back_in_each_format(tmp_path, suffix, kind):
    path = tmp_path / f"a{suffix}"
    write_labels(path, Volume(LABELS, np.diag([-0.5, 2, 3, 1])))
    back = read_case(Case("a", kind, (path,)))
    assert back.array.dtype == np.uint8 and np.array_equal(back.array, LABELS)
    assert np.array_equal(back.affine, np.diag([-0.5, 2, 3, 1]))


def test_more_than_255_labels_take_16_bits(tmp_path):
    write_labels(tmp_path / "a.png", Volume(np.array([[0, 256], [1, 2]]), np.eye(3)))
    assert read_case(Case("a", "image", (tmp_path / "a.png",))).array.tolist() == [[0, 256], [1, 2]]


@pytest.mark.parametrize("array", [LABELS - 1, LABELS / 2])
def test_negative_and_fractional_values_are_no_labels(tmp_path, array):
    with pytest.raises(ValueError, match="labels must"):
        write_labels(tmp_path / "a.nii.gz", Volume(array, np.eye(4)))


def test_an_unknown_suffix_is_the_callers_mistake(tmp_path):
    with pytest.raises(InputError, match=r"\.nii\.gz, \.nii"):
        write_labels(tmp_path / "a.mnc", Volume(LABELS, np.eye(4)))


def test_labels_may_be_written_in_another_format_than_their_source(tmp_path):
    write_labels(tmp_path / "scan.mha", Volume(LABELS, np.eye(4)))
    source = Case("scan", "metaimage", (tmp_path / "scan.mha",))
    write_labels(tmp_path / "out.nii.gz", Volume(LABELS, np.eye(4)), source=source)
    assert np.array_equal(read_case(Case("out", "nifti", (tmp_path / "out.nii.gz",))).affine, np.eye(4))


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".seg.dcm", ".rtstruct.dcm"])
def test_what_was_written_is_read_back_and_a_torn_file_is_not(tmp_path, labelled_series, by, suffix):
    case, path = labelled_series(), tmp_path / f"a{suffix}"
    check_writable(path, case)
    write_labels(path, read_case(case), source=case, by=by)
    read_back(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CaseError, match=rf"a{suffix}"):
        read_back(path)


def test_dicom_results_of_a_scan_that_is_none_are_refused_before_there_are_labels(tmp_path):
    scan = Case("a", "nifti", (tmp_path / "a.nii.gz",))
    check_writable(tmp_path / "a.nii.gz", scan)
    for name in ("a.seg.dcm", "a.rtstruct.dcm"):
        with pytest.raises(CaseError, match="--format nifti") as refusal:
            check_writable(tmp_path / name, scan)
        assert refusal.value.code == "NO_REFERENCE"


def test_dicom_results_need_an_author(tmp_path, labelled_series):
    case = labelled_series()
    with pytest.raises(InputError, match="by whom"):
        write_labels(tmp_path / "a.seg.dcm", read_case(case), source=case)


def test_each_label_has_a_map_of_its_own(tmp_path):
    paths = {1: tmp_path / "one.nii.gz", 3: tmp_path / "deep" / "three.nii.gz"}
    write_per_label(paths, Volume(LABELS, np.diag([2.0, 3, 4, 1])))
    for label, path in paths.items():
        back = read_case(Case("a", "nifti", (path,)))
        assert np.array_equal(back.array, label == LABELS) and back.array.dtype == np.uint8
        assert back.spacing_mm == (2.0, 3.0, 4.0)


def test_probabilities_of_a_volume_are_read_as_such_by_others_and_can_be_checked(tmp_path):
    array, path = np.random.default_rng(0).integers(0, 65536, (3, 4, 5, 2)).astype(np.uint16), tmp_path / "p.nii.gz"
    write_probabilities([path], Volume(array, np.diag([1.0, 2, 3, 1])))
    seen = nib.load(path)
    assert seen.shape == (3, 4, 5, 2) and seen.get_data_dtype() == np.uint16
    np.testing.assert_allclose(seen.get_fdata(), array / 65535, atol=1e-7)
    read_back(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CaseError) as caught:
        read_back(path)
    assert caught.value.code == "TRUNCATED"


def test_probabilities_of_a_picture_keep_their_16_bits_even_if_all_are_small(tmp_path):
    paths = [tmp_path / "1.png", tmp_path / "2.png"]
    array = np.array([[[3, 200], [0, 65535]]], np.uint16)
    write_probabilities(paths, Volume(array, np.eye(3)))
    for k, path in enumerate(paths):
        back = read_case(Case("a", "image", (path,))).array
        assert back.dtype == np.uint16 and np.array_equal(back, array[..., k])
