"""All real files: each is read on a sane grid or refused by code; what is read agrees with a second reader."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.errors import CASE_CODES, CaseError, InputError
from pipeline.io.discover import Case, find_cases, read_case
from pipeline.io.volume import Volume

# id -> code, or the shape of what is read
DICOM = {
    "dicom2nifti/failing/gantrytilting/001": "GANTRY_TILT",
    "dicom2nifti/failing/notavolume/001": "DUPLICATE_SLICES",
    "dicom2nifti/failing/slicecount/001": "TOO_FEW_SLICES",
    "dicom2nifti/failing/sliceincrement/001": "SLICE_GAP",
    "dicom2nifti/failing/sliceincrement/002": "SLICE_GAP",
    "dicom2nifti/failing/sliceorientation/001": "MIXED_ORIENTATIONS",
    "dicom2nifti/siemens_multiframe/anatomical/001": "NO_GEOMETRY",
    "dicom2nifti/ge/anatomical/001": (256, 256, 4),
    "dicom2nifti/ge/anatomical/001_single_slice": "TOO_FEW_SLICES",
    "dcmqi/segmentations/23x38x3/image": (23, 38, 3),
    "dcmqi/segmentations/23x38x3/multiframe": (23, 38, 3),
    "dcmqi/sr-example": "NOT_AN_IMAGE",
    "highdicom/dx_image": (169, 211),
    "pydicom/SC_rgb_jpeg_dcmtk": (100, 100, 3),
    "pydicom/examples_palette": (350, 800, 3),
    "pydicom/ExplVR_BigEnd": (60, 80, 3),
    "pydicom/dicomdirtests/77654033/CT2": "SLICE_GAP",
    "pydicom/dicomdirtests/98892001/CT5N": (16, 16, 5),
    "pydicom/dicomdirtests/98892003/MR2/series_2_48.0.136": "MIXED_ORIENTATIONS",
    "pydicom/dicomdirtests/TINY_ALPHA/PT000000/ST000000/SE000000": "TRUNCATED",
    "pydicom/empty_charset_LEI": "UNREADABLE",
    "rt-utils": (100, 50, 3),  # oriented_data, one slice of which lies in one_slice_data too
    "totalseg_ct_siemens_20": (512, 512, 20),
}
# What holds no case of its own, and why
PASSED_OVER = {
    "pydicom/dicomdirtests/98892001/CT2N": "2 files passed over: localizer",
    "pydicom/dicomdirtests/98892003/MR700": "7 files passed over: projections or renderings",
    "rt-utils/empty": "1 file passed over: RT Structure Set",
    "highdicom": "1 file passed over: Comprehensive 3D SR",
}
NIFTI = {
    "nibabel/tests/data/anatomical": (33, 41, 25),  # big-endian
    "nibabel/tests/data/example4d": "NOT_3D",
    "nibabel/tests/data/example_nifti2": "NOT_3D",
    "nibabel/tests/data/resampled_anat_moved": "NON_FINITE",
    "nibabel/tests/data/row_major.dconn": "NOT_3D",
    "nibabel/tests/data/standard": (4, 5, 7),
    "dcmqi_nrrd/data/paramaps/pm-example-float": (256, 256, 20),
    "niivue-demo/CT_AVM": (256, 242, 154),
}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # what pydicom says about files that are meant to be odd


def read_all(folder: Path) -> dict[str, tuple[Case, Volume | CaseError]]:
    results: dict[str, tuple[Case, Volume | CaseError]] = {}
    for case in find_cases(folder):
        try:
            results[case.id] = case, (volume := read_case(case))
            assert case.is_picture == (volume.spatial_dims == 2), case.id
        except CaseError as error:
            results[case.id] = case, error
    return results


@pytest.fixture(scope="module")
def dicom(shared_data):
    return read_all(shared_data / "dicom")


@pytest.fixture(scope="module")
def nifti(shared_data):
    return read_all(shared_data / "nifti")


@pytest.mark.parametrize("name", ["dicom", "nifti"])
def test_each_case_is_a_finite_grid_or_a_refusal_that_names_the_file(name, request):
    for key, (case, result) in request.getfixturevalue(name).items():
        if isinstance(result, CaseError):
            assert result.code in CASE_CODES and result.code != "INTERNAL", key
            assert str(case.files[0].parent) in result.message or str(case.files[0].parents[1]) in result.message, key
        else:
            assert result.array.size and np.isfinite(result.affine).all(), key
            assert all(0.01 < mm < 100 for mm in result.spacing_mm), key


@pytest.mark.parametrize(("name", "table"), [("dicom", DICOM), ("nifti", NIFTI)])
def test_the_notable_ones_come_out_as_the_table_says(name, table, request):
    results = request.getfixturevalue(name)
    outcome = {key: results[key][1] for key in table}
    assert {key: r.code if isinstance(r, CaseError) else r.array.shape for key, r in outcome.items()} == table


@pytest.mark.parametrize("folder", PASSED_OVER)
def test_what_is_no_scan_is_passed_over_with_its_reason(shared_data, caplog, folder):
    with caplog.at_level(logging.INFO), suppress(InputError):  # nothing else may be there
        find_cases(shared_data / "dicom" / folder)
    assert f"{shared_data / 'dicom' / folder}: {PASSED_OVER[folder]}" in caplog.text


def test_every_dicom_volume_agrees_with_simpleitk_in_pixels_and_place(dicom):
    sitk = pytest.importorskip("SimpleITK")
    volumes = [(c, v) for c, v in dicom.values() if c.kind == "dicom" and isinstance(v, Volume) and v.spatial_dims == 3]
    assert len(volumes) >= 5
    for case, volume in volumes:
        if len(case.files) == 1:  # many frames in one file
            image = sitk.ReadImage(str(case.files[0]))
        else:
            files = sorted(case.files, key=lambda path: place_along_stack(path, volume))
            image = sitk.ReadImage([str(path) for path in files])
        stored = sitk.GetArrayFromImage(image).T  # float64 where a slope has fractions; ours is float32 then
        assert np.allclose(stored, volume.array, rtol=1e-6 * (volume.array.dtype == np.float32), atol=0), case.id
        last = [n - 1 for n in volume.array.shape]
        for index in ([0, 0, 0], last):
            x, y, z = image.TransformIndexToPhysicalPoint(index)
            assert np.allclose((volume.affine @ [*index, 1])[:3], [-x, -y, z], atol=0.01), case.id


def place_along_stack(path: Path, volume: Volume) -> float:
    import pydicom

    x, y, z = (float(v) for v in pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient)
    return float(np.linalg.solve(volume.affine, [-x, -y, z, 1])[2])


def test_every_nifti_volume_agrees_with_nibabel_in_voxels_and_affine(dicom, nifti):
    volumes = [(c, v) for c, v in [*dicom.values(), *nifti.values()] if c.kind == "nifti" and isinstance(v, Volume)]
    assert len(volumes) >= 5
    for case, volume in volumes:
        image = nib.load(case.files[0])
        assert np.array_equal(volume.affine, image.affine), case.id
        assert np.allclose(volume.array, np.asarray(image.dataobj), rtol=1e-6, atol=1e-4), case.id
