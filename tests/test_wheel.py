"""The wheel, installed elsewhere, brings its bundles along: what a user gets is not the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUNDLES = sorted(path.parents[1].name for path in ROOT.glob("bundles/*/configs/metadata.json"))
LOAD = """
import sys, torch
from monai.bundle import ConfigParser
from pipeline.data import roots
root = roots.bundle(sys.argv[1])
config = ConfigParser.load_config_file(root + "/configs/inference.yaml")
network = ConfigParser(config).get_parsed_content("network_def")
network.load_state_dict(torch.load(root + "/models/model.pt", map_location="cpu", weights_only=True))
sys.stdout.write(root)
"""


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


@pytest.mark.parametrize("name", BUNDLES[:1])
def test_a_network_is_built_and_its_weights_load_from_there(installed: Path, tmp_path: Path, name: str) -> None:
    root = python("-c", LOAD, name, cwd=tmp_path, path=installed)
    assert root.endswith(str(installed / "share" / "evoseg" / "bundles" / name))


def test_the_wheel_holds_the_package_data_and_no_tests(installed: Path) -> None:
    assert (installed / "pipeline" / "data" / "meta_schema_20240725.json").is_file()
    assert (installed / "evoseg.py").is_file()
    assert not (installed / "tests").exists()
