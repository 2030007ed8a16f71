"""David Clunie's dciodvfy finds nothing wrong with our DICOM results, and dcmqi reads the same labels in them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.io.discover import Case, find_cases, read_case
from pipeline.io.metaimage import read_metaimage
from pipeline.io.orientation import canonical
from pipeline.io.volume import Volume
from pipeline.io.write import write_labels
from tests.io.dicom_results import every_orientation

pytestmark = pytest.mark.clinical

SUFFIXES = (".seg.dcm", ".rtstruct.dcm")
LIVER = Path(__file__).resolve().parents[1] / "data" / "demo" / "liver_dicom"


def program(name: str, way_out: str) -> str:
    """Its path: beside this Python, or in PATH. A clinical test fails without it, it is not skipped."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found, f"{name} is not installed: {way_out}"
    return found


def complaints(path: Path) -> list[str]:
    """The lines of dciodvfy that are errors."""
    command = [program("dciodvfy", "apt-get install dicom3tools"), "-new", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    assert {"Segmentation", "RTStructureSet"} & set(lines), lines  # it has recognised the object
    return [line for line in lines if line.startswith("Error")]


def read_by_dcmqi(path: Path, folder: Path) -> Volume:
    command = [program("segimage2itkimage", "pip install dcmqi"), "--inputDICOM", str(path)]
    options = ["--outputDirectory", str(folder), "--outputType", "nrrd", "--mergeSegments"]
    subprocess.run([*command, *options], check=True, capture_output=True)
    (found,) = folder.glob("*.nrrd")
    return read_metaimage(found)


def real_labels(case: Case) -> Volume:
    """Bone and fat of a real scan: many parts, holes and single pixels."""
    scan = read_case(case)
    return Volume(((scan.array > 150) + 2 * ((scan.array > -120) & (scan.array < -60))).astype(np.uint8), scan.affine)


@every_orientation
def test_dcmqi_reads_the_same_labels_at_the_same_place_and_dciodvfy_finds_no_error(tmp_path, labelled_series, by, axes):
    case = labelled_series(axes)
    labels = read_case(case)
    for suffix in SUFFIXES:
        write_labels(tmp_path / f"a{suffix}", labels, source=case, by=by)
        assert complaints(tmp_path / f"a{suffix}") == []
    (tmp_path / "out").mkdir()
    found, there = canonical(read_by_dcmqi(tmp_path / "a.seg.dcm", tmp_path / "out")), canonical(labels)
    assert np.array_equal(found.array, there.array)
    assert np.allclose(found.affine, there.affine, atol=1e-4)


def test_the_results_of_a_real_scan_are_without_error_and_dcmqi_reads_them(tmp_path, by):
    (case,) = find_cases(LIVER)
    labels = real_labels(case)
    for suffix in SUFFIXES:
        write_labels(tmp_path / f"a{suffix}", labels, source=case, by=by)
        assert complaints(tmp_path / f"a{suffix}") == []
    (tmp_path / "out").mkdir()
    found, there = canonical(read_by_dcmqi(tmp_path / "a.seg.dcm", tmp_path / "out")), canonical(labels)
    assert np.array_equal(found.array, there.array)
    assert np.allclose(found.affine, there.affine, atol=1e-3)


def test_the_results_of_a_tilted_scan_are_without_error(tmp_path, labelled_series, by):
    axes = np.array([[1, 0, 0], [0, 1, 0.28], [0, 0, 0.96]])  # slices follow one another at 16 degrees
    case = replace(labelled_series(axes), tilt_allowed=True)
    for suffix in SUFFIXES:
        write_labels(tmp_path / f"a{suffix}", read_case(case), source=case, by=by)
        assert complaints(tmp_path / f"a{suffix}") == []


def test_a_result_without_any_label_is_without_error(tmp_path, labelled_series, by):
    case = labelled_series(stack=np.zeros((5, 4, 6), int))
    for suffix in SUFFIXES:
        write_labels(tmp_path / f"a{suffix}", read_case(case), source=case, by=by)
        assert complaints(tmp_path / f"a{suffix}") == []
