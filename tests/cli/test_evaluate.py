"""`evoseg evaluate` as it is typed."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from pipeline.cli.app import app

RESULTS = {"per_case.csv", "summary.json", "summary.md", "finished.jsonl", "plots"}


def write(path: Path, shape=(4, 5, 6), label=1) -> None:
    array = np.zeros(shape, np.uint8)
    array[1:3, 1:3, 1:3] = label
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)


def draw(path: Path, array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["evaluate", f"{folder}/p", f"{folder}/r", "-o", f"{folder}/out", *words])


def summary(folder: Path) -> dict:
    return json.loads((folder / "out" / "summary.json").read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "p" / "a.nii.gz")
    write(tmp_path / "r" / "a_label.nii.gz")
    return tmp_path


def test_the_scores_are_written_and_shown(folder: Path) -> None:
    result = run(folder, "--labels", "1=kidney")
    assert result.exit_code == 0, result.output
    assert {path.name for path in (folder / "out").iterdir()} == RESULTS
    assert summary(folder)["labels"]["kidney"]["metrics"]["dice"]["mean"] == 1
    assert "| kidney | dice | 1 | 1 | 1.0000 |" in result.stdout


def test_flags_are_the_terms_that_the_tables_name(folder: Path) -> None:
    flags = ["--surface", "surfel", "--tolerance-mm", "2.5", "--missing", "inf", "--resample-reference", "--jobs", "1"]
    assert run(folder, "--labels", "1=kidney", *flags).exit_code == 0
    assert summary(folder)["settings"] == {
        **{"names": {"1": "kidney"}, "surface": "surfel", "tolerance_mm": 2.5, "missing": "inf"}
    }
    assert summary(folder)["arguments"]["resample_reference"] is True
    assert "surface surfel; tolerance 2.5 mm" in (folder / "out/summary.md").read_text()


def test_names_and_patients_come_from_the_files_beside(folder: Path) -> None:
    (folder / "p/run.json").write_text('{"labels": {"1": "kidney"}}')
    (folder / "r/dataset.json").write_text('{"cases": [{"id": "a", "patient": "x"}]}')
    assert run(folder).exit_code == 0
    assert list(summary(folder)["labels"]) == ["kidney"]
    assert (summary(folder)["statistics_over"], summary(folder)["patients"]) == ("patients", 1)


def test_pairs_that_cannot_be_compared_are_status_1_and_the_others_are_there(folder: Path) -> None:
    write(folder / "p/other_grid.nii.gz")
    write(folder / "r/other_grid.nii.gz", shape=(4, 5, 7))
    write(folder / "p/unnamed.nii.gz", label=3)
    write(folder / "r/unnamed.nii.gz")
    write(folder / "p/torn.nii.gz")
    write(folder / "r/torn.nii.gz")
    (folder / "r/torn.nii.gz").write_bytes(b"\x1f\x8b")
    result = run(folder, "--labels", "1=kidney", "--jobs", "2")
    assert result.exit_code == 1
    with (folder / "out/per_case.csv").open(newline="") as file:
        statuses = {row["case"]: row["status"] for row in csv.DictReader(file)}
    assert statuses == {"a": "ok", "other_grid": "GRID_MISMATCH", "unnamed": "BAD_LABELS", "torn": "TRUNCATED"}
    assert "unnamed.nii.gz holds the label 3" in result.stderr


def test_a_failed_case_is_tried_again_and_the_others_are_kept(folder: Path) -> None:
    write(folder / "p/b.nii.gz", shape=(4, 5, 7))
    write(folder / "r/b.nii.gz")
    assert run(folder).exit_code == 1
    kept = (folder / "out/finished.jsonl").read_text()
    write(folder / "p/b.nii.gz")
    assert run(folder, "--resume").exit_code == 0
    assert (folder / "out/finished.jsonl").read_text().startswith(kept)
    assert summary(folder)["cases"] == 2


def test_instances_are_scored_as_objects(tmp_path: Path) -> None:
    labels = np.zeros((20, 20), np.uint16)
    labels[2:6, 2:6], labels[10:15, 3:9] = 300, 7
    for side in "pr":
        draw(tmp_path / side / "cells.png", labels)
    assert run(tmp_path, "--instances").exit_code == 0
    objects = summary(tmp_path)["labels"]["objects"]
    assert (objects["metrics"]["pq"]["mean"], objects["pooled"]["pq"]) == (1, 1)
    assert objects["metrics"]["object_hausdorff"]["unit"] == "px"


def test_saliency_maps_are_scored_as_probabilities(tmp_path: Path) -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[4:12, 4:12] = 255
    draw(tmp_path / "p/a.png", mask // 5 * 4)  # 0.8 in the object
    draw(tmp_path / "r/a.png", mask)
    assert run(tmp_path, "--saliency").exit_code == 0
    found = summary(tmp_path)["labels"]["foreground"]["metrics"]
    assert found["mae"]["mean"] == pytest.approx(0.2 * 64 / 400)
    assert found["adaptive_f_beta"]["mean"] == 1


def test_a_reference_with_grey_levels_needs_a_threshold(tmp_path: Path) -> None:
    grey = np.zeros((20, 20), np.uint8)
    grey[4:12, 4:12], grey[4:12, 12:16] = 255, 102  # two fifths of the people chose the second part too
    for side in "pr":
        draw(tmp_path / side / "a.png", grey)
    assert run(tmp_path, "--saliency").exit_code == 1
    assert "GREY_MASK" in (tmp_path / "out/summary.json").read_text()
    found = {}
    for threshold in ("0", "0.5"):
        assert run(tmp_path, "--saliency", "--threshold", threshold).exit_code == 0
        found[threshold] = summary(tmp_path)["labels"]["foreground"]["metrics"]["mae"]["mean"]
    assert found == {"0": pytest.approx(32 * 0.6 / 400), "0.5": pytest.approx(32 * 0.4 / 400)}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--instances", "--saliency"], "give one of them"),
        (["--instances", "--labels", "1=cell"], "--labels say how labels are scored"),
        (["--saliency", "--missing", "inf"], "--missing say how labels are scored"),
        (["--threshold", "0.5"], "give --saliency too"),
        (["--saliency", "--threshold", "1"], "from 0 to below 1"),
        (["--tolerance-mm", "-1"], "--tolerance-mm -1"),
        (["--jobs", "0"], "--jobs"),
        *[(["--labels", word], f"--labels {word}") for word in ("kidney", "1", "0=background", "x=kidney", "1=")],
        (["--labels", "1=kidney", "--labels", "1=tumour"], "given once"),
        (["--labels", "1=kidney", "--labels", "2=kidney"], "given once"),
    ],
)
def test_a_call_that_makes_no_sense_is_status_2_and_writes_nothing(folder: Path, words: list[str], said: str) -> None:
    result = run(folder, *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (folder / "out").exists()


@pytest.mark.parametrize("out", ["p", "p/scores"])
def test_plots_among_the_predictions_are_no_predictions(folder: Path, out: str) -> None:
    for _ in range(2):
        result = CliRunner().invoke(app, ["evaluate", f"{folder}/p", f"{folder}/r", "-o", f"{folder}/{out}"])
        assert result.exit_code == 0, result.output
    assert list((folder / out / "plots").glob("*.png"))
    assert json.loads((folder / out / "summary.json").read_text())["predictions_without_reference"] == []


def test_a_named_label_that_no_map_has_is_told_with_those_that_they_have(folder: Path) -> None:
    result = run(folder, "--labels", "1=kidney", "--labels", "7=cyst", "--jobs", "1")
    assert result.exit_code == 0
    said = " ".join(result.stderr.split())
    assert "no map that was compared holds the label 7 (cyst), they hold 1 (kidney)" in said


def test_tables_are_not_written_into_the_references(folder: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", f"{folder}/p", f"{folder}/r", "-o", f"{folder}/r/scores"])
    assert (result.exit_code, (folder / "r/scores").exists()) == (2, False)
    assert "lies inside REFERENCES" in result.stderr


def test_an_empty_folder_is_status_2(folder: Path) -> None:
    (folder / "p/a.nii.gz").unlink()
    result = run(folder)
    assert result.exit_code == 2
    assert "no scan in" in result.stderr


def test_quiet_is_quiet(folder: Path) -> None:
    result = run(folder, "-q", "--jobs", "1")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_the_verb_is_loaded_without_what_computes() -> None:
    script = (
        "import sys, pipeline.cli.evaluate\n"
        "print({'torch', 'monai', 'numba', 'pandas', 'matplotlib', 'scipy', 'nibabel'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
