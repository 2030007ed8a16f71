from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from data_prep.prepare import LAYOUTS
from pipeline.cli.app import app
from pipeline.cli.prepare import Layout
from pipeline.errors import CaseError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    for id in ("a", "b"):
        for suffix, dtype in (("ct", np.int16), ("label", np.uint8)):
            array = np.zeros((6, 6, 3), dtype)
            array[2:4, 2:4, 1] = 2
            nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"own/{id}_{suffix}.nii.gz")
    return tmp_path / "own"


def prepare(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["prepare", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_the_names_of_the_layouts_are_those_of_the_library() -> None:
    assert {layout.value for layout in Layout} == set(LAYOUTS)


def test_every_flag_reaches_the_dataset(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = "--label left=1 --label right=2 --window=-125,275 --size 12 --folds 1 --seed 7 --patient (.)"
    code, stdout, _ = prepare("pairs", source, "-o", out, *words.split())
    assert code == 0 and "2 written, 0 unchanged, 0 refused" in stdout
    content = json.loads((out / "dataset.json").read_text())
    assert content["labels"] == {"0": "background", "1": "left", "2": "right"}
    assert (content["window"], content["size"], content["folds"], content["seed"]) == ([-125, 275], 12, 1, 7)
    assert nib.load(out / "images/a.nii.gz").shape == (12, 12, 3)


def test_a_spacing_in_mm_resamples_all_axes(source: Path, tmp_path: Path) -> None:
    prepare("pairs", source, "-o", tmp_path / "out", "--spacing", "2,2,0.5", "--folds", "2")
    assert nib.load(tmp_path / "out/images/a.nii.gz").shape == (3, 3, 6)


def test_a_refused_case_is_named_and_the_exit_status_is_1(source: Path, tmp_path: Path) -> None:
    (source / "b_label.nii.gz").unlink()
    code, stdout, stderr = prepare("pairs", source, "-o", tmp_path / "out", "--folds", "2")
    assert code == 1 and "1 written, 0 unchanged, 1 refused" in stdout
    assert stderr.count("b: MISSING_FILE") == 1


def test_what_a_layout_leaves_out_is_told(source: Path, tmp_path: Path) -> None:
    for number, names in ((0, ("imaging", "segmentation")), (210, ("imaging",))):
        (tmp_path / f"kits19/case_{number:05d}").mkdir(parents=True)
        for name in names:
            shutil.copy(source / "a_ct.nii.gz", tmp_path / f"kits19/case_{number:05d}/{name}.nii.gz")
    words = ("-o", tmp_path / "out", "--folds", "1", "--label", "kidney=2")
    code, _, stderr = prepare("kits19", tmp_path / "kits19", *words)
    assert code == 0 and "left out for want of a segmentation: 1" in stderr


def test_a_disk_that_is_full_is_a_sentence(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise CaseError("WRITE_FAILED", "dataset.json could not be written (No space left on device): free some space")

    monkeypatch.setattr("data_prep.write.write_json", full)
    code, _, stderr = prepare("pairs", source, "-o", tmp_path / "out", "--folds", "2")
    assert code == 2 and stderr.splitlines()[-1].startswith("evoseg: dataset.json could not be written")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--window", "1"], "give 2 numbers"),
        (["--spacing", "1,x,1"], "give 3 numbers"),
        (["--label", "kidney"], "give NAME=VALUES"),
        (["--label", "a=1", "--label", "a=2"], "each name once"),
        (["--patient", "("], "not a regular expression"),
        (["--folds", "9"], "number of patients"),
    ],
)
def test_a_flag_that_cannot_be_meant_is_answered_with_its_form(
    source: Path, tmp_path: Path, flags: list[str], message: str
) -> None:
    code, _, stderr = prepare("pairs", source, "-o", tmp_path / "out", *flags)
    assert code == 2 and message in stderr
    assert not (tmp_path / "out").exists()
