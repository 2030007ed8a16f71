"""One scan of a dataset: every channel and the label on one grid, or a refusal by code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from data_prep import nnunet, pairs
from data_prep.layout import Scan
from data_prep.read import read_scan, require_files
from pipeline.errors import CaseError


def test_channels_in_one_file_and_in_several_are_one_image(decathlon_source: Path, nnunet_source: Path) -> None:
    one, several = (nnunet.find(source).scans[1] for source in (decathlon_source, nnunet_source))
    assert (len(one.images), len(several.images)) == (1, 2)
    (image, label), (same_image, same_label) = read_scan(one, 2), read_scan(several, 2)
    assert image.array.shape == (12, 10, 4, 2) and image.same_grid(label)
    np.testing.assert_array_equal(image.array, same_image.array)
    np.testing.assert_array_equal(label.array, same_label.array)


def test_a_file_with_another_number_of_channels_is_refused(decathlon_source: Path) -> None:
    with pytest.raises(CaseError, match="names 3 channels") as refused:
        read_scan(nnunet.find(decathlon_source).scans[0], 3)
    assert refused.value.code == "NOT_3D"


def test_mha_and_nrrd_are_read_as_nifti_is(pairs_source: Path) -> None:
    image, label = read_scan(pairs.find(pairs_source).scans[0], 1)
    for path, ending in ((pairs_source / "anna_ct.nii.gz", "mha"), (pairs_source / "anna_label.nii.gz", "nrrd")):
        sitk.WriteImage(sitk.ReadImage(path), str(path).replace("nii.gz", ending))
        path.unlink()
    same_image, same_label = read_scan(pairs.find(pairs_source).scans[0], 1)
    np.testing.assert_array_equal(image.array, same_image.array)
    np.testing.assert_array_equal(label.array, same_label.array)
    assert image.same_grid(same_image) and label.same_grid(same_label)


@pytest.mark.parametrize(
    ("shape", "slice_mm", "message"),
    [((12, 10, 5), 5.0, r"\(12, 10, 4\) and .* \(12, 10, 5\)"), ((12, 10, 4), 4.0, "two places")],
)
def test_a_label_on_another_grid_is_refused_with_both_grids(
    pairs_source: Path, write: Callable[..., Path], shape: tuple[int, ...], slice_mm: float, message: str
) -> None:
    write(pairs_source / "anna_label.nii.gz", np.zeros(shape, np.uint8), np.diag([-2.0, -2.0, slice_mm, 1.0]))
    with pytest.raises(CaseError, match=message) as refused:
        read_scan(pairs.find(pairs_source).scans[0], 1)
    assert refused.value.code == "GRID_MISMATCH"


def test_headers_that_differ_in_their_last_digits_are_one_grid(pairs_source: Path, write: Callable[..., Path]) -> None:
    write(pairs_source / "anna_label.nii.gz", np.zeros((12, 10, 4), np.uint8), np.diag([-2.0, -2.001, 5.0, 1.0]))
    assert read_scan(pairs.find(pairs_source).scans[0], 1)[1].array.shape == (12, 10, 4)


def test_every_file_that_is_missing_is_named(tmp_path: Path) -> None:
    scan = Scan("x", (tmp_path / "images/x_0000.nii.gz", tmp_path / "images/x_0001.nii.gz"), tmp_path / "labels/x.nii")
    with pytest.raises(CaseError, match=r"images/x_0000.nii.gz, images/x_0001.nii.gz, labels/x.nii: ") as refused:
        require_files(scan)
    assert refused.value.code == "MISSING_FILE"
