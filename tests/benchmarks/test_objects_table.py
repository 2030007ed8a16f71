"""The tables of soft threshold dynamics on tiny pictures, and how a picture with a prior is scored."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

HERE = Path(__file__).resolve().parent
TABLES = HERE.parents[1] / "configs" / "tables" / "soft_threshold"
sys.path.insert(0, str(HERE))  # as when fill_table.py is run

import fill_table  # noqa: E402
from paper_tables.description import Table  # noqa: E402
from paper_tables.objects import picture_scores  # noqa: E402

from pipeline.data.objects import LabelObjectsd  # noqa: E402


@pytest.fixture
def described(tmp_path):
    """priors.yaml of two priors, and data/isic2018: 8 pictures of 32 x 32, a bright square each."""
    rng, folder, listed = np.random.default_rng(0), tmp_path / "data" / "isic2018", []
    folder.mkdir(parents=True)
    for k in range(8):
        label = np.zeros((32, 32), np.uint8)
        label[2 * k : 2 * k + 12, 8:21] = 1
        noisy = label[:, :, None] * 150 + rng.integers(0, 80, (32, 32, 3))
        Image.fromarray(noisy.astype(np.uint8)).save(folder / f"{k}.png")
        Image.fromarray(label).save(folder / f"{k}_label.png")
        case = {"id": str(k), "patient": str(k), "fold": 0, "split": "test" if k < 3 else "train"}
        listed.append(case | {"image": f"{k}.png", "label": f"{k}_label.png"})
    content = {"channels": ["red", "green", "blue"], "split": "by number", "cases": listed}
    (folder / "dataset.json").write_text(json.dumps(content))
    protocol = yaml.safe_load((TABLES / "protocol.yaml").read_text())
    protocol["train"] = str((TABLES / protocol["train"]).resolve())
    for network in protocol["networks"].values():
        network["seeds"] = 1
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump(protocol))
    table = yaml.safe_load((TABLES / "priors.yaml").read_text())
    table["networks"] = {name: table["networks"][name] for name in ("softmax", "star_shape")}
    (tmp_path / "priors.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
    return tmp_path


def test_one_command_trains_and_scores_the_rows_of_a_card(described):
    places = ["--data", described / "data", "--runs", described / "runs", "--output", described]
    small = {"max_epochs": 2, "filters": "[1,1,1,1,1,1]", "pretrained": "false", "batch_size": 2, "device": "cpu"}
    small |= {"mixed_precision": "false", "iterations": 3, "initial_weights": "null"}
    settings = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    fill_table.main([str(word) for word in (described / "priors.yaml", *places, *settings)])
    rows = [line.split(" | ") for line in (described / "priors.md").read_text().splitlines() if "STD |" in line]
    assert [row[1] for row in rows] == [*Table(TABLES / "priors.yaml").shown["star_shape"]]
    assert {row[6] for row in rows if row[1].startswith("star")} == {"100.0 %"}
    alike = {row[1]: row[10] for row in rows if row[0].endswith("SS-STD")}  # softmax has no layer to be compared with
    assert {condition for condition, difference in alike.items() if difference == "–"} == {
        "layer, true centre",
        "layer and star, true centre",
    }


def test_a_mask_is_scored_as_it_is_delivered():
    y, x = torch.meshgrid(torch.arange(30.0), torch.arange(40.0), indexing="ij")
    disc = 9 - ((y - 14) ** 2 + (x - 16) ** 2).sqrt()
    speck = 3 - ((y - 25) ** 2 + (x - 35) ** 2).sqrt()
    sample = LabelObjectsd("label")({"label": (disc > 0)[None].float()})

    def scores(condition):
        return picture_scores(torch.maximum(disc, speck), disc, sample, condition)

    disc_px, speck_px = (disc > 0).sum().item(), (speck > 0).sum().item()
    plain, star = scores({}), scores({"centers": "true"})
    assert plain["iou"] == pytest.approx(disc_px / (disc_px + speck_px)) and plain["star"] == 0
    assert plain["miou"] == pytest.approx((plain["iou"] + 1 - speck_px / (30 * 40 - disc_px)) / 2)
    assert star["iou"] == star["miou"] == star["star"] == star["near_star"] == star["kept"] == 1
    sample["volumes"][1] = 0
    assert scores({"volume": "true"})["kept"] == 0


@pytest.mark.parametrize("path", sorted(p for p in TABLES.glob("*.yaml") if "\nprotocol:" in p.read_text()))
def test_each_table_is_described_without_a_mistake(path):
    table = Table(path)
    assert table.kind == "objects" and table.against in table.shown[table.reference]
