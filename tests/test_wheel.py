"""The wheel, installed elsewhere, brings its bundles along: what a user gets is not the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
BUNDLES = sorted(path.parents[1].name for path in ROOT.glob("bundles/*/configs/metadata.json"))
KIDNEYS = "kidney_ct_regression_segmentation"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel, unpacked by pip; the dependencies stay where they are."""
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    python("-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels), cwd=ROOT)
    [wheel] = wheels.glob("evoseg-*.whl")
    python("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target), str(wheel), cwd=ROOT)
    return target


def python(*arguments: str, cwd: Path, path: Path | None = None) -> str:
    """What a Python process prints that finds evoseg in `path` and nothing by the environment."""
    environment = {**os.environ, "EVOSEG_BUNDLES": "", "PYTHONPATH": str(path or "")}
    ran = subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_installed_command_lists_the_bundles_from_another_folder(installed: Path, tmp_path: Path) -> None:
    assert BUNDLES
    listing = python("-m", "evoseg", "bundles", cwd=tmp_path, path=installed)
    assert all(name in listing for name in BUNDLES), listing


def test_the_installed_command_runs_a_bundle_from_another_folder(installed: Path, tmp_path: Path) -> None:
    scan = nib.Nifti1Image(np.full((40, 40, 6), -1000, dtype=np.int16), np.diag([8.0, 8.0, 5.0, 1.0]))
    nib.save(scan, tmp_path / "air.nii.gz")
    arguments = ("segment", "air.nii.gz", "-o", "labels.nii.gz", "--bundle", KIDNEYS, "--device", "cpu")
    python("-m", "evoseg", *arguments, cwd=tmp_path, path=installed)
    assert nib.load(tmp_path / "labels.nii.gz").shape == (40, 40, 6)


def test_the_wheel_holds_the_package_data_and_no_tests(installed: Path) -> None:
    assert (installed / "pipeline" / "data" / "meta_schema_20240725.json").is_file()
    assert (installed / "evoseg.py").is_file()
    assert not (installed / "tests").exists()
