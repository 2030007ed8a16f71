"""The tables of instances: described without a mistake, overlays change what a bundle has, and a tiny one is filled."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TABLES = ROOT / "configs" / "tables" / "dvis"
BUNDLE = ROOT / "bundles" / "dvis_nuclei_segmentation" / "configs" / "train.yaml"
sys.path.insert(0, str(HERE))  # as when fill_table.py is run

import fill_table  # noqa: E402
from paper_tables import costs  # noqa: E402
from paper_tables.description import Table  # noqa: E402
from paper_tables.instances import HEAD, picture_scores  # noqa: E402

from pipeline.data.config import entries  # noqa: E402
from pipeline.metrics.instances import object_pairs  # noqa: E402
from pipeline.networks.instance_net import InstanceNet  # noqa: E402


@pytest.mark.parametrize("path", [TABLES / "windows.yaml", TABLES / "regularisation.yaml"], ids=lambda path: path.stem)
def test_each_table_is_described_without_a_mistake(path: Path) -> None:
    table = Table(path)
    known = {key for key, _ in entries(table.base)} | {"map_loss::mumford_shah", "map_loss::quantisation"}
    assert {key for name in table.shown for key in table.networks[name].get("set", {})} <= known
    assert table.shown.keys() <= table.networks.keys() and table.kind == "instances"


@pytest.mark.parametrize("overlay", ["three_classes", "second_stage", "three_classes_glands"])
def test_an_overlay_changes_only_what_the_bundle_has(overlay: str) -> None:
    changed = yaml.safe_load((TABLES / f"{overlay}.yaml").read_text())
    bundle = Path(str(BUNDLE).replace("nuclei", "glands")) if overlay.endswith("glands") else BUNDLE
    known = {key for key, _ in entries(yaml.safe_load(bundle.read_text()))}
    assert {key.removeprefix("+") for key in changed} <= known


def test_scores_of_a_picture_are_those_of_its_pairs() -> None:
    reference = np.zeros((8, 12), np.int64)
    reference[1:5, 1:5], reference[1:5, 7:11] = 1, 2
    prediction = np.where(reference == 1, 1, 0)
    prediction[6:, 6:8] = 5
    found = picture_scores(object_pairs(prediction, reference))
    assert found.keys() >= HEAD.keys() and found["miscounted"] == 0
    assert [found[name] for name in ("ap50", "ap90", "ap")] == pytest.approx([1 / 3] * 3)  # one found, invented, missed


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """data/dsb2018: 6 pictures of 32 x 32 with two squares each; a table of two networks and three groupings."""
    draw, folder, listed = np.random.default_rng(0), tmp_path / "data" / "dsb2018", []
    folder.mkdir(parents=True)
    for k in range(6):
        label = np.zeros((32, 32), np.uint8)
        label[2 + k : 12 + k, 3:13], label[4:14, 18:28] = 1, 2
        picture = ((label > 0) * 150 + draw.integers(0, 80, label.shape)).astype(np.uint8)
        Image.fromarray(picture).convert("RGB").save(folder / f"{k}.png")
        Image.fromarray(label).save(folder / f"{k}_label.png")
        case = {"id": str(k), "patient": str(k), "fold": 0, "split": "test" if k < 2 else "train"}
        listed.append(case | {"image": f"{k}.png", "label": f"{k}_label.png"})
    content = {"channels": ["red", "green", "blue"], "split": "by number", "cases": listed}
    (folder / "dataset.json").write_text(json.dumps(content))
    table = yaml.safe_load((TABLES / "windows.yaml").read_text())
    protocol = yaml.safe_load((TABLES / "protocol.yaml").read_text()) | {"train": str(BUNDLE)}
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump(protocol))
    table |= {"networks": ["chosen", "window_9"]}
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
    return tmp_path


def test_a_table_of_instances_is_filled(described: Path) -> None:
    small = [
        "max_epochs=1",
        "crop=32",
        "batch_size=2",
        "pretrained=false",
        "device=cpu",
        "filters=[4, 4, 4]",
        "refinements=[1]",
    ]
    places = ["--data", str(described / "data"), "--runs", str(described / "runs"), "--output", str(described)]
    settings = [part for each in small for part in ("--set", each)]
    fill_table.main([str(described / "table.yaml"), *places, *settings])
    stored = json.loads(next((described / "runs").rglob("result.json")).read_text())
    assert set(stored["conditions"]) == {"components", "bandwidth 0.9", "bandwidth 0.4"}
    assert all(len(each["scores"]["ap50"]) == 2 for each in stored["conditions"].values())
    text = (described / "table.md").read_text()
    assert "3 of 3 cells are trained" in text and "| window 33 | bandwidth 0.9 | 0, 1 |" in text


def test_the_hours_of_a_map_are_estimated_on_its_crops(described: Path, capsys, monkeypatch) -> None:
    sizes = []
    monkeypatch.setattr(costs, "step_seconds", lambda network, size, batch: sizes.append(size) or (0.0, 3600.0))
    settings = [part for each in ("max_epochs=2", "crop=64", "pretrained=false") for part in ("--set", each)]
    places = ["--data", str(described / "data"), "--runs", str(described / "runs")]
    fill_table.main([str(described / "table.yaml"), *places, *settings, "--estimate"])
    assert sizes == [(3, 64, 64)] * 2  # one of each network
    assert "| all | 3 | 18.0 |" in capsys.readouterr().out  # 3 cells, 2 epochs, 3 pictures outside test and stop


def test_the_second_stage_learns_on_a_map_that_stays(described: Path) -> None:
    maps = InstanceNet(filters=(4, 4, 4), position_period=64).state_dict()
    torch.save(maps, described / "map.pt")
    config = yaml.safe_load(BUNDLE.read_text()) | yaml.safe_load((TABLES / "second_stage.yaml").read_text())
    config |= {"dataset_dir": str(described / "data" / "dsb2018"), "output_dir": str(described / "out")}
    config |= {"initial_weights": str(described / "map.pt"), "filters": [4, 4, 4], "refinements": [1]}
    config |= {"crop": 32, "batch_size": 2}
    parser = ConfigParser(config | {"max_epochs": 1, "device": "$torch.device('cpu')"})
    # the untrained map is noise: every blob is a candidate
    parser["map_grouping"] |= {"inside": -10.0, "min_area": 1}
    parser.get_parsed_content("initialize")
    head = parser.get_parsed_content("network_def").head
    before = {name: value.clone() for name, value in head.state_dict().items()}
    parser.get_parsed_content("train::trainer").run()
    assert any(not torch.equal(value, before[name]) for name, value in head.state_dict().items())
    stored = torch.load(described / "out" / "model.pt", weights_only=True)
    for name, value in maps.items():
        torch.testing.assert_close(stored[f"network.{name}"], value.to(stored[f"network.{name}"]))
