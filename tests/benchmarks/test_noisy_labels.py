"""The table of wrong labels: scores by right labels, smoothed logits, and one filled from tiny pictures."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

HERE = Path(__file__).resolve().parent
TABLES = HERE.parents[1] / "configs" / "tables" / "inverse_evolution"
sys.path.insert(0, str(HERE))  # as when fill_table.py is run

import fill_table  # noqa: E402
from paper_tables.description import Table  # noqa: E402
from paper_tables.noisy_labels import picture_dice, smoothed  # noqa: E402

from pipeline.layers.inverse_evolution import InverseEvolution  # noqa: E402


def prepared(folder):
    """16 colour pictures of 32 x 32: a square of cytoplasm with a nucleus in it."""
    rng, listed = np.random.default_rng(0), []
    folder.mkdir(parents=True)
    for k in range(16):
        label = np.zeros((32, 32), np.uint8)
        label[4 : 24 - k // 2, 6:26], label[8:14, 10:16] = 1, 2
        picture = label[..., None] * np.array([90, 60, 110]) + rng.integers(0, 40, (32, 32, 3))
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{k}.png")
        Image.fromarray(label).save(folder / f"{k}_label.png")
        case = {"id": str(k), "patient": str(k), "fold": 0, "split": "test" if k < 3 else "train"}
        listed.append(case | {"image": f"{k}.png", "label": f"{k}_label.png"})
    labels = {"0": "background", "1": "cytoplasm", "2": "nucleus"}
    content = {"channels": ["red", "green", "blue"], "labels": labels, "split": "by number", "cases": listed}
    (folder / "dataset.json").write_text(json.dumps(content))


def fill(folder, table, *more):
    places = ["--data", str(folder / "data"), "--runs", str(folder / "runs"), "--output", str(folder)]
    small = ["--set", "max_epochs=2", "--set", "val_interval=1", "--set", "train_every=4", "--set", "device=cpu"]
    narrow = ["--set", "filters=[2, 2, 2, 2, 2]", "--set", "mixed_precision=false"]
    fill_table.main([str(table), *places, *small, *narrow, *more])
    return (folder / f"{table.stem}.md").read_text()


def test_a_table_of_wrong_labels_holds_both_weights_their_rivals_and_their_curves(tmp_path):
    prepared(tmp_path / "data" / "wbc")
    protocol = yaml.safe_load((TABLES / "protocol.yaml").read_text())
    protocol["train"] = str((TABLES / protocol["train"]).resolve())
    for network in protocol["networks"].values():
        network["seeds"] = 1
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump(protocol, sort_keys=False))
    for name in ("wbc", "curves"):
        (tmp_path / f"{name}.yaml").write_text((TABLES / f"{name}.yaml").read_text())
    text = fill(tmp_path, tmp_path / "wbc.yaml")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(("| clean", "| windows"))]
    assert len(rows) == 4 + 4 + 2 + 2 and "| cytoplasm | nucleus |" in text and "not run yet" not in text
    treated = next(row for row in rows if row[:3] == ["| windows", "with layers", "last epoch"])
    assert treated[-1].startswith("–") and treated[-2][0] in "+-"  # compared with clean labels, not with itself
    folder = tmp_path / "runs" / "wbc" / "windows_layers" / "filters_2-2-2-2-2" / "seed_0"
    entry = json.loads((folder / "curve.json").read_text())["epochs"][-1]
    assert {"dice", "dice_clean", "loss"} <= entry.keys() and (folder / "last.pt").is_file()
    assert "Dice by epoch" in fill(tmp_path, tmp_path / "curves.yaml")
    assert (tmp_path / "curves_wbc_filters.png").is_file()


@pytest.mark.parametrize("path", sorted(p for p in TABLES.glob("*.yaml") if "\nprotocol:" in p.read_text()))
def test_each_table_is_described_without_a_mistake(path):
    assert Table(path).shown


@pytest.mark.parametrize(("table", "dataset"), [("wbc", "wbc"), ("nuclei", "dsb2018"), ("noises", "wbc")])
def test_the_rivals_gaussian_has_the_length_of_the_layers(table, dataset):
    described = Table(TABLES / f"{table}.yaml")
    chosen = described.datasets[dataset].get("set", {})
    parser = described._configured(chosen)
    prior: InverseEvolution = parser.get_parsed_content("prior")
    sigmas = {each["sigma"] for each in described.conditions.values() if "sigma" in each}
    assert sorted(sigmas) == [pytest.approx(prior.length, abs=1e-4)]


def test_dice_is_the_mean_of_the_labels_that_a_picture_has():
    reference, prediction = torch.zeros(4, 4, dtype=torch.long), torch.zeros(4, 4, dtype=torch.long)
    reference[0, :2], prediction[0, 0] = 1, 1
    found = picture_dice(prediction, reference, classes=3)
    assert found["dice_1"] == pytest.approx(2 / 3) and math.isnan(found["dice_2"])
    assert found["dice"] == pytest.approx(2 / 3)


def test_smoothed_logits_spread_a_point_by_sigma():
    point = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
    point[..., 15, 15] = 1
    along = smoothed(point, 1.5)[0, 0].sum(1)
    away = torch.arange(31, dtype=torch.float64) - 15
    assert (along * away**2).sum().sqrt().item() == pytest.approx(1.5, rel=0.01)
    assert smoothed(point, 0.0) is point
