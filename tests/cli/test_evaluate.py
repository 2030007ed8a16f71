"""`evoseg evaluate` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from pipeline.cli.app import app


def write(path: Path, shape=(4, 5, 6)) -> None:
    array = np.zeros(shape, np.uint8)
    array[1:3, 1:3, 1:3] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["evaluate", f"{folder}/p", f"{folder}/r", "-o", f"{folder}/out", *words])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "p" / "a.nii.gz")
    write(tmp_path / "r" / "a_label.nii.gz")
    return tmp_path


def test_the_scores_are_written_and_shown(folder: Path) -> None:
    result = run(folder, "--labels", "1=kidney")
    assert result.exit_code == 0, result.output
    assert {path.name for path in (folder / "out").iterdir()} == {"per_case.csv", "summary.json", "summary.md"}
    assert json.loads((folder / "out/summary.json").read_text())["labels"]["kidney"]["dice"]["mean"] == 1
    assert "| kidney | dice | 1.0000 |" in result.stdout


def test_a_pair_that_cannot_be_compared_is_status_1(folder: Path) -> None:
    write(folder / "p" / "b.nii.gz")
    write(folder / "r" / "b.nii.gz", shape=(4, 5, 7))
    result = run(folder)
    assert result.exit_code == 1
    assert "GRID_MISMATCH" in (folder / "out/per_case.csv").read_text()


@pytest.mark.parametrize("word", ["kidney", "1", "0=background", "x=kidney", "1="])
def test_a_label_that_is_not_number_and_name_is_status_2(folder: Path, word: str) -> None:
    result = run(folder, "--labels", word)
    assert result.exit_code == 2
    assert f"--labels {word}" in result.stderr
    assert not (folder / "out").exists()


def test_a_label_given_twice_is_status_2(folder: Path) -> None:
    assert run(folder, "--labels", "1=kidney", "--labels", "1=tumour").exit_code == 2
    assert run(folder, "--labels", "1=kidney", "--labels", "2=kidney").exit_code == 2
