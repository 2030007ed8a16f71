"""A bundle with its own copy of our modules: nothing of ours is missing in it, and it answers as its source."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigWorkflow
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.errors import InputError
from pipeline.inference.vendored import PACKAGE, SOURCE, reached, vendor

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parents[1] for path in ROOT.glob("bundles/*/configs/metadata.json"))
BUNDLE = ROOT / "bundles" / "kidney_ct_regression_segmentation"
# Runs MONAI's command where our package cannot be imported, wherever it is installed.
ALONE = f"import runpy, sys; sys.modules['{SOURCE}'] = None; runpy.run_module('monai.bundle', run_name='__main__')"


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
def test_a_vendored_bundle_names_and_imports_nothing_outside_itself(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / bundle.name
    vendor(bundle, folder)
    assert not any(f"{SOURCE}." in path.read_text() for path in folder.glob("configs/*.yaml"))
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [f"{node.module}.{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.split(".")[0] == SOURCE]
            assert all(is_there(folder, name) for name in names if name.startswith(f"{PACKAGE}.")), names
    assert "evoseg" not in json.loads((folder / "configs" / "metadata.json").read_text())["required_packages_version"]


def is_there(folder: Path, name: str) -> bool:
    """Whether a dotted name is a module of the folder, or something that one may define."""
    path = folder.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.parent.with_suffix(".py").is_file()


def test_modules_come_with_what_they_import() -> None:
    assert reached(["losses/narrow_band.py"]) == ["losses/narrow_band.py"]
    assert {"ode/solve.py", "ode/adaptive.py", "errors.py"} <= set(reached(["networks/node_unet.py"]))


def test_a_vendored_bundle_answers_as_its_source_where_there_is_no_evoseg(tmp_path: Path) -> None:
    scans, folder = tmp_path / "scans", tmp_path / "bundle"
    scans.mkdir()
    scan = nib.load(ROOT / "tests" / "data" / "demo" / "trunk.nii.gz")
    marked = np.asanyarray(nib.load(ROOT / "tests" / "data" / "initial" / "trunk.nii.gz").dataobj)
    most = int(np.argmax(marked.sum(axis=(0, 1)) > 0.9 * marked.sum(axis=(0, 1)).max()))
    nib.save(scan.slicer[:, :, most : most + 2], scans / "scan.nii.gz")  # two slices through a kidney
    vendor(BUNDLE, folder)
    for name in ("source", "vendored"):
        (tmp_path / name).mkdir()
    road = {"dataset_dir": str(scans), "device": "$torch.device('cpu')"}
    source = ConfigWorkflow(
        str(BUNDLE / "configs" / "inference.yaml"), logging_file=False, output_dir=str(tmp_path / "source"), **road
    )
    source.initialize()
    source.run()
    arguments = ["run", "--config_file", "configs/inference.yaml", "--output_dir", str(tmp_path / "vendored")]
    arguments += [word for key, value in road.items() for word in (f"--{key}", value)]
    ran = subprocess.run(
        [sys.executable, "-c", ALONE, *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    wanted, found = (nib.load(next((tmp_path / name).rglob("*.nii.gz"))) for name in ("source", "vendored"))
    assert np.array_equal(found.affine, wanted.affine)
    assert np.array_equal(np.asanyarray(found.dataobj), np.asanyarray(wanted.dataobj))
    assert np.asanyarray(wanted.dataobj).any()


def test_a_folder_that_is_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is there already"):
        vendor(BUNDLE, tmp_path)


def test_a_config_that_names_no_module_of_ours_is_refused(tmp_path: Path) -> None:
    configs = tmp_path / "bundle" / "configs"
    configs.mkdir(parents=True)
    (configs / "metadata.json").write_text("{}")
    (configs / "train.yaml").write_text(f"network_def: {{_target_: {SOURCE}.nowhere.Network}}\n")
    with pytest.raises(InputError, match=r"no module of pipeline defines pipeline\.nowhere"):
        vendor(tmp_path / "bundle", tmp_path / "out")


@pytest.mark.parametrize("flags", [[], ["--vendored", "--format", "onnx"]])
def test_a_file_or_a_folder_must_be_chosen(flags: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bundles", "export", str(BUNDLE), "-o", str(tmp_path / "out"), *flags])
    assert result.exit_code == 2
    assert "either --format" in result.stderr
