"""The pictures of an evaluation: the right cases, over the right images."""

from __future__ import annotations

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipeline.cli.pictures import draw_labels, worst
from pipeline.errors import InputError
from pipeline.evaluation.folder import Evaluation, Scorer, evaluate_folder
from pipeline.evaluation.measures import CaseScores, LabelMeasure, Row
from pipeline.evaluation.pairs import find_pairs
from pipeline.metrics.overlap import Overlap


def scored(*rows: tuple[str, float, str]) -> CaseScores:
    made = [Row(label, "dice", value, "1", status) for label, value, status in rows]
    return CaseScores(made, {label: Overlap(1, 2, 2) for label, _, _ in rows}, 1.0, "ml")


def test_the_worst_label_of_a_case_decides_and_the_worst_case_comes_first() -> None:
    nothing = float("nan")
    cases = {
        "good": scored(("kidney", 0.9, "ok"), ("tumour", 0.8, "ok")),
        "poor": scored(("kidney", 0.95, "ok"), ("tumour", 0.25, "ok")),
        "missed": scored(("kidney", 0.0, "missed"), ("tumour", nothing, "both_empty")),
        "empty": scored(("kidney", nothing, "both_empty")),
        "numbered": scored(("1", 0.5, "ok")),
    }
    assert worst(Evaluation(cases, {}, []), 3) == {
        "missed": "missed, kidney: missed",
        "poor": "poor, tumour: dice 0.250",
        "numbered": "numbered, label 1: dice 0.500",
    }


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, name in enumerate(("a", "b")):
        reference, prediction = np.zeros((2, 60, 60, 3), np.uint8)
        reference[20:40, 20:40] = 1
        prediction[20 + 4 * i : 40, 20:40] = 1
        write(tmp_path / "r" / f"{name}_label.nii.gz", reference)
        write(tmp_path / "p" / f"{name}.nii.gz", prediction)
        scan = np.random.default_rng(i).integers(-100, 200, (60, 60, 3)).astype(np.int16)
        write(tmp_path / "images" / f"{name}_ct.nii.gz", scan)
    return tmp_path


def draw(folder: Path, images: Path | None) -> np.ndarray:
    pairs, _ = find_pairs(folder / "p", folder / "r")
    evaluation = evaluate_folder(pairs, Scorer(LabelMeasure()))
    draw_labels(evaluation, pairs, folder / "out", terms="evoseg", patients={}, names=None, images=images)
    return np.asarray(Image.open(folder / "out/plots/worst_cases.png"))


def test_plots_and_worst_cases_lie_beside_each_other(folder: Path) -> None:
    draw(folder, None)
    names = {path.name for path in (folder / "out/plots").iterdir()}
    assert {"dice.png", "hd95.png", "bland_altman.png", "worst_cases.png"} <= names


def greys(sheet: np.ndarray) -> int:
    return len(np.unique(sheet[60:, :, 0]))


def without_plots(*_: object, **__: object) -> None:
    """Three seconds saved."""


def test_an_image_is_found_by_the_name_of_its_case(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.cli.pictures.write_plots", without_plots)
    assert greys(draw(folder, folder / "images")) > 200
    assert greys(draw(folder, None)) < 200


def test_a_case_without_an_image_on_its_grid_is_drawn_without_and_told(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.cli.pictures.write_plots", without_plots)
    write(folder / "images" / "a_ct.nii.gz", np.zeros((60, 60, 4), np.int16))
    (folder / "images" / "b_ct.nii.gz").write_bytes(b"torn")
    with caplog.at_level(logging.WARNING):
        assert greys(draw(folder, folder / "images")) < 200
    assert "another grid" in caplog.text
    assert "b_ct is drawn without its image" in caplog.text


def test_a_folder_without_images_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.cli.pictures.write_plots", without_plots)
    (folder / "none").mkdir()
    with pytest.raises(InputError):
        draw(folder, folder / "none")
