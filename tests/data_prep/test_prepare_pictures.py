"""Datasets of pictures from the source folder to dataset.json, synthetic and real."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_prep.folds import Split
from data_prep.picture_recipe import nearest
from data_prep.prepare import prepare
from data_prep.recipe import Recipe
from data_prep.work import Prepared
from pipeline.data.datalist import cases
from pipeline.errors import InputError


def run(layout: str, source: Path, out: Path, size: int | None = 8, folds: int = 2) -> Prepared:
    return prepare(layout, source, out, recipe=Recipe(size=size), split=Split(folds=folds))


def described(out: Path) -> dict[str, Any]:
    return json.loads((out / "dataset.json").read_text())


def by_id(out: Path) -> dict[str, dict[str, Any]]:
    return {case["id"]: case for case in described(out)["cases"]}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def excerpt(source: Path, ids: list[str], to: Path) -> Path:
    """A source folder with some rows of a real index.csv and their files."""
    with (source / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["id"] in ids]
    for row in rows:
        for key in ("image", "mask"):
            (to / row[key]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / row[key], to / row[key])
    with (to / "index.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    return to


@pytest.fixture
def ecssd(tmp_path: Path) -> Path:
    """Ten pictures of 12 x 20 with a block of 6 x 10."""
    label = np.zeros((12, 20), np.uint8)
    label[2:8, 4:14] = 255
    for k in range(10):
        array = np.random.default_rng(k).integers(0, 256, (12, 20, 3)).astype(np.uint8)
        for folder, content in (("images", array), ("ground_truth_mask", label)):
            (tmp_path / "own" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(tmp_path / "own" / folder / f"{k:04d}.png")
    return tmp_path / "own"


def test_a_dataset_folder_of_pictures_is_described(ecssd: Path, tmp_path: Path) -> None:
    before = contents(ecssd)
    assert len(run("ecssd", ecssd, tmp_path / "out").written) == 10
    assert contents(ecssd) == before
    content = described(tmp_path / "out")
    case = content.pop("cases")[3]
    assert content == {
        "name": "ECSSD",
        "modality": "RGB",
        "channels": ["red", "green", "blue"],
        "labels": {"0": "background", "1": "salient object"},
        "instances": False,
        "size": 8,
        "seed": 0,
        "folds": 2,
        "split": "drawn at random, one in five for testing; in the papers ECSSD is a test set only",
        "aside": [],
    }
    assert case["fold"] in (0, 1) and case["split"] in ("train", "test")
    assert {key: case[key] for key in case.keys() - {"fold", "split"}} == {
        "id": "0003",
        "patient": "0003",
        "image": "images/0003.png",
        "label": "labels/0003.png",
        "source_shape": [12, 20],
        "foreground": 0.25,  # 60 of 240 pixels; stretching keeps shares: 4 x 4 of 8 x 8
    }
    image, label = (pixels(tmp_path / "out" / case[key]) for key in ("image", "label"))
    assert (image.shape, image.dtype, label.shape, label.dtype) == ((8, 8, 3), np.uint8, (8, 8), np.uint8)
    assert set(np.unique(label)) == {0, 1}


def test_without_a_size_pictures_keep_their_pixels(ecssd: Path, tmp_path: Path) -> None:
    run("ecssd", ecssd, tmp_path / "out", size=None)
    np.testing.assert_array_equal(pixels(tmp_path / "out/images/0000.png"), pixels(ecssd / "images/0000.png"))
    np.testing.assert_array_equal(
        pixels(tmp_path / "out/labels/0000.png") * 255, pixels(ecssd / "ground_truth_mask/0000.png")
    )


def test_labels_are_taken_at_the_centre_of_each_pixel() -> None:
    label = np.arange(9, dtype=np.uint16).reshape(3, 3) * 1000
    np.testing.assert_array_equal(nearest(label, 1), [[4000]])
    np.testing.assert_array_equal(nearest(label, 3), label)
    np.testing.assert_array_equal(nearest(label, 6), np.repeat(np.repeat(label, 2, 0), 2, 1))


def test_a_second_run_does_nothing_and_another_seed_draws_anew_without_reading(ecssd: Path, tmp_path: Path) -> None:
    run("ecssd", ecssd, tmp_path / "out")
    before = contents(tmp_path / "out")
    assert run("ecssd", ecssd, tmp_path / "out").written == []
    assert contents(tmp_path / "out") == before
    drawn = by_id(tmp_path / "out")
    again = prepare("ecssd", ecssd, tmp_path / "out", recipe=Recipe(size=8), split=Split(folds=2, seed=3))
    assert again.written == [] and by_id(tmp_path / "out") != drawn


def test_bad_pictures_are_recorded_by_code_and_change_nobody_elses_place(ecssd: Path, tmp_path: Path) -> None:
    run("ecssd", ecssd, tmp_path / "good")
    (ecssd / "ground_truth_mask/0001.png").unlink()
    Image.fromarray(np.zeros((20, 12), np.uint8)).save(ecssd / "ground_truth_mask/0002.png")
    (ecssd / "images/0003.png").write_bytes((ecssd / "images/0003.png").read_bytes()[:200])
    (ecssd / "images/0004.png").unlink()
    prepared = run("ecssd", ecssd, tmp_path / "out")
    assert {id: error.code for id, error in prepared.failed.items()} == {
        "0001": "MISSING_FILE",
        "0002": "GRID_MISMATCH",
        "0003": "TRUNCATED",
        "0004": "MISSING_FILE",
    }
    message = prepared.failed["0002"].message
    assert "(12, 20)" in message and "(20, 12)" in message
    good = by_id(tmp_path / "good")
    assert by_id(tmp_path / "out") == {id: good[id] for id in good if id not in prepared.failed}
    assert str(tmp_path) not in (tmp_path / "out/provenance.json").read_text()


def test_grey_levels_are_refused_one_by_one_until_a_threshold_is_given(ecssd: Path, tmp_path: Path) -> None:
    grey = pixels(ecssd / "ground_truth_mask/0003.png").copy()
    grey[9:, :] = 100  # as large as the object itself
    Image.fromarray(grey).save(ecssd / "ground_truth_mask/0003.png")
    refused = run("ecssd", ecssd, tmp_path / "out").failed
    assert {id: error.code for id, error in refused.items()} == {"0003": "GREY_MASK"}
    shares = {}
    for threshold in (0.0, 0.5):
        recipe = Recipe(size=8, threshold=threshold)
        assert len(prepare("ecssd", ecssd, tmp_path / "out", recipe=recipe, split=Split()).written) == 10
        shares[threshold] = by_id(tmp_path / "out")["0003"]["foreground"]
    assert shares[0.0] > 1.5 * shares[0.5] > 0


def test_a_threshold_is_refused_where_masks_have_no_grey_levels(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name)
    (tmp_path / "index.csv").write_text("id,image,mask\na,a.png,b.png\n")
    with pytest.raises(InputError, match="those of Kvasir-SEG have none"):
        prepare("kvasir_seg", tmp_path, tmp_path.parent / "out", recipe=Recipe(threshold=0.5), split=Split(folds=1))
    with pytest.raises(InputError, match="from 0 to below 1"):
        Recipe(threshold=1.0)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(window=(0, 1)), "--window is for volumes"),
        (Recipe(spacing_mm=(1, 1, 1)), "--spacing is for volumes"),
        (Recipe(labels={"a": (1,)}), "--label is for volumes"),
    ],
)
def test_settings_of_volumes_are_refused_before_anything_is_written(
    ecssd: Path, tmp_path: Path, recipe: Recipe, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        prepare("ecssd", ecssd, tmp_path / "out", recipe=recipe, split=Split())
    with pytest.raises(InputError, match="number of patients"):
        run("ecssd", ecssd, tmp_path / "out", folds=11)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_held_volumes_is_cleared_of_them(ecssd: Path, tmp_path: Path) -> None:
    run("ecssd", ecssd, tmp_path / "out")
    record = json.loads((tmp_path / "out/provenance.json").read_text())
    record["arguments"]["layout"] = "pairs"
    (tmp_path / "out/provenance.json").write_text(json.dumps(record))
    (tmp_path / "out/distances").mkdir()
    (tmp_path / "out/distances/0000.nii.gz").touch()
    assert len(run("ecssd", ecssd, tmp_path / "out").written) == 10
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_the_two_names_of_one_busi_picture_stand_together_and_normal_breasts_aside(
    shared_data: Path, tmp_path: Path
) -> None:
    lesions = ["benign_433", "malignant_145", "benign_1", "benign_3", "benign_10", "malignant_3", "malignant_10"]
    source = excerpt(shared_data / "busi", [*lesions, "normal_1", "normal_10", "normal_100"], tmp_path / "busi")
    for seed in range(4):
        prepare("busi", source, tmp_path / "out", recipe=Recipe(size=64), split=Split(folds=2, seed=seed))
        placed = by_id(tmp_path / "out")
        one, other = placed["benign_433"], placed["malignant_145"]
        assert all(one[key] == other[key] for key in ("patient", "fold", "split"))
    assert {case["id"] for case in cases(tmp_path / "out", "all")} == set(lesions)
    normal = cases(tmp_path / "out", "all", classes=["normal"])
    assert len(normal) == 3 and not any(pixels(Path(case["label"])).any() for case in normal)
    assert pixels(Path(normal[0]["image"])).shape == (64, 64)


def test_real_nuclei_keep_their_ids_in_16_bits(shared_data: Path, tmp_path: Path) -> None:
    with (shared_data / "dsb2018/index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    busiest = max(rows, key=lambda row: int(row["n_instances_fixed"] or row["n_instances"]))
    grey = next(row for row in rows if row["class"] != "colour")
    source = excerpt(shared_data / "dsb2018", [busiest["id"], grey["id"]], tmp_path / "dsb2018")
    run("dsb2018", source, tmp_path / "out", size=None)
    case = by_id(tmp_path / "out")[busiest["id"]]
    label = pixels(tmp_path / "out" / case["label"])
    np.testing.assert_array_equal(label, pixels(shared_data / "dsb2018" / busiest["mask"]))
    assert label.dtype == np.uint16 and case["instances"] == len(np.unique(label)) - 1 > 255
    assert pixels(tmp_path / "out" / by_id(tmp_path / "out")[grey["id"]]["image"]).shape[2] == 3  # grey among colour
