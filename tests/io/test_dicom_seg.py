"""A DICOM Segmentation is a label map with the segments' numbers where its frames lie in the patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import CaseError
from pipeline.io.dicom_seg import is_segmentation, read_segmentation
from pipeline.io.metaimage import read_metaimage
from pipeline.io.nearest import nearest


@pytest.fixture
def folder(shared_data: Path) -> Path:
    return shared_data / "dicom"


def test_a_segmentation_lies_where_the_image_it_was_made_from_does(folder: Path, tmp_path: Path) -> None:
    """dcmqi made the file from the NRRD beside it, with all its slices."""
    found = read_segmentation(folder / "dcmqi/segmentations/liver.dcm")
    source = tmp_path / "liver.nrrd"
    sitk.WriteImage(sitk.ReadImage(str(folder / "dcmqi/segmentations/liver_seg.nrrd")), str(source))
    expected = read_metaimage(source)
    placed = nearest(found, like=expected)
    assert np.count_nonzero(expected.array) > 0
    assert np.array_equal(placed.array > 0, expected.array > 0)
    assert set(np.unique(placed.array)) == {0, 1}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("dcmqi/segmentations/partial_overlaps.dcm", "BAD_LABELS"),
        ("highdicom/seg_image_ct_binary_overlap.dcm", "BAD_LABELS"),
        ("highdicom/seg_image_ct_true_fractional.dcm", "UNSUPPORTED_PIXELS"),
        ("dcmqi/segmentations/sparse-labelmap-noppv.dcm", "UNSUPPORTED_PIXELS"),
    ],
)
def test_what_is_no_label_map_is_refused_by_its_code(folder: Path, name: str, code: str) -> None:
    with pytest.raises(CaseError, match=Path(name).name) as refusal:
        read_segmentation(folder / name)
    assert refusal.value.code == code


def test_a_file_that_is_cut_short_is_refused(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "highdicom/seg_image_ct_binary.dcm").read_bytes()
    torn = tmp_path / "torn.dcm"
    torn.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CaseError, match=r"torn\.dcm"):
        read_segmentation(torn)


def test_a_segmentation_is_told_from_a_scan_and_from_no_dicom(folder: Path, tmp_path: Path) -> None:
    assert is_segmentation(folder / "dcmqi/segmentations/liver.dcm")
    scan = next((folder / "totalseg_ct_siemens_20").glob("CT.*"))
    assert not is_segmentation(scan)
    assert not is_segmentation(tmp_path / "missing.dcm")
