"""`evoseg compare` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from pipeline.cli.app import app


def write(path: Path, thickness: int, shape: tuple[int, int, int] = (8, 8, 8)) -> None:
    array = np.zeros(shape, np.uint8)
    array[1 : 1 + thickness, 1:5, 1:5] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(6):
        for name, thickness in (("r", 5), ("good", 4), ("poor", 1 + i % 2)):
            write(tmp_path / name / f"case_{i}.nii.gz", thickness)
    return tmp_path


def run(folder: Path, *words: str) -> Result:
    words = (*words, "--reference", f"{folder}/r", "-o", f"{folder}/out", "--jobs", "1")
    return CliRunner().invoke(app, ["compare", *words])


def test_the_better_method_is_shown_and_written(folder: Path) -> None:
    result = run(folder, f"{folder}/poor", f"{folder}/good", "--labels", "1=kidney", "--tolerance-mm", "0.5")
    assert result.exit_code == 0, result.output
    names = {path.name for path in (folder / "out").iterdir()}
    assert names == {"compare.csv", "ranking.csv", "compare.json", "compare.md"}
    content = json.loads((folder / "out/compare.json").read_text())
    assert content["tolerance_mm"] == 0.5
    dice = content["differences"][0]
    assert (dice["metric"], dice["label"], dice["a"], dice["b"], dice["b_better"]) == (
        "dice",
        "kidney",
        "poor",
        "good",
        6,
    )
    # of five slices one has 1 or 2, the other 4: Dice 2 / 6 or 4 / 7 against 8 / 9
    assert dice["mean_difference"] == pytest.approx((2 / 6 + 4 / 7) / 2 - 8 / 9)
    assert "6 cases" in result.stdout


def test_three_methods_are_ranked(folder: Path) -> None:
    for i in range(6):
        write(folder / "perfect" / f"case_{i}.nii.gz", 5)
    result = run(folder, f"{folder}/poor", f"{folder}/good", f"{folder}/perfect", "-q")
    assert (result.exit_code, result.output) == (0, "")
    ranks = json.loads((folder / "out/compare.json").read_text())["ranking"]
    assert [(each["method"], each["mean_rank"], each["first"]) for each in ranks[:3]] == [
        ("poor", 3, 0),
        ("good", 2, 0),
        ("perfect", 1, 1),
    ]


def test_a_case_that_one_method_lacks_or_that_cannot_be_read_is_status_1(folder: Path) -> None:
    (folder / "good" / "case_0.nii.gz").unlink()
    write(folder / "poor" / "case_1.nii.gz", 1, shape=(8, 8, 9))
    result = run(folder, f"{folder}/poor", f"{folder}/good")
    assert result.exit_code == 1
    assert json.loads((folder / "out/compare.json").read_text())["cases"] == [f"case_{i}" for i in range(2, 6)]
    assert "- case_0: no prediction of good" in result.stdout
    assert "- case_1: poor: GRID_MISMATCH" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("good",), "two folders"),
        (("good", "good"), "given twice"),
        (("good", "missing"), "missing"),
        (("good", "poor", "--labels", "kidney"), "--labels kidney"),
    ],
)
def test_what_cannot_be_compared_is_status_2(folder: Path, words: tuple[str, ...], said: str) -> None:
    words = tuple(f"{folder}/{word}" if word in ("good", "poor", "missing") else word for word in words)
    result = run(folder, *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (folder / "out").exists()
