"""fill_table.py on a dataset of six tiny pictures: one epoch, stopped, gone on with, never run twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from pipeline.errors import InputError

HERE = Path(__file__).resolve().parent
TABLES = HERE.parents[1] / "configs" / "tables" / "continuous_unet"
sys.path.insert(0, str(HERE))  # as when fill_table.py is run

import fill_table  # noqa: E402
from paper_tables import scoring, training  # noqa: E402
from paper_tables.costs import PeakMemory  # noqa: E402
from paper_tables.curves import epochs_to  # noqa: E402
from paper_tables.description import Table  # noqa: E402
from paper_tables.scoring import noise_of, picture_scores  # noqa: E402

PROTOCOL = {
    "train": str(TABLES / "train.yaml"),
    "reference": "second_order",
    "datasets": {"dots": {"title": "Dots", "set": {"batch_size": 2}}, "absent": {"title": "Absent"}},
    "networks": {
        "second_order": {"title": "second order", "seeds": 2, "set": {"block": "second_order"}},
        "plain": {"title": "plain", "seeds": 1, "set": {"block": "plain"}},
    },
}
TABLE = {
    "protocol": "protocol.yaml",
    "title": "A table",
    "datasets": ["dots", "absent"],
    "networks": ["second_order", "plain"],
    "comparisons": ["filters"],
    "conditions": {"as trained": {}, "noise 0.5": {"noise": 0.5}, "euler": {"solver": {"method": "euler"}}},
    "paper": {"dots": {"plain": [[0.25, 0.5, 7.5]], "U2Net": [[0.125, 0.75, 9]]}},
}


@pytest.fixture
def described(tmp_path):
    """A table's description, and data/dots: 8 grey pictures of 16 x 16, a bright square each."""
    rng, folder, listed = np.random.default_rng(0), tmp_path / "data" / "dots", []
    folder.mkdir(parents=True)
    for k in range(8):
        label = np.zeros((16, 16), np.uint8)
        label[k : k + 6, 4:11] = 1
        Image.fromarray((label * 150 + rng.integers(0, 80, label.shape)).astype(np.uint8)).save(folder / f"{k}.png")
        Image.fromarray(label).save(folder / f"{k}_label.png")
        split = "test" if k < 3 else "train"
        case = {"id": str(k), "patient": str(k), "fold": 0, "split": split}
        listed.append(case | {"image": f"{k}.png", "label": f"{k}_label.png"})
    content = {"channels": ["grey"], "split": "by number", "cases": listed}
    (folder / "dataset.json").write_text(json.dumps(content))
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump(PROTOCOL))
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(TABLE, sort_keys=False))
    return tmp_path


def fill(folder, *more, epochs=1):
    places = ["--data", str(folder / "data"), "--runs", str(folder / "runs"), "--output", str(folder)]
    small = ["--set", f"max_epochs={epochs}", "--set", "filters=[2, 4]", "--set", "device=cpu"]
    fill_table.main([str(folder / "table.yaml"), *places, *small, *more])
    return (folder / "table.md").read_text()


def results(folder):
    return sorted((folder / "runs").rglob("result.json"))


def test_networks_that_are_named_are_trained_alone(described):
    text = fill(described, "--networks", "plain")
    assert [path.parts[-4] for path in results(described)] == ["plain"]
    assert "not run yet" in next(line for line in text.splitlines() if line.startswith("| second order"))
    with pytest.raises(InputError, match=r"--networks plane: .* has second_order, plain"):
        fill(described, "--networks", "plane")


def test_a_table_is_filled_once_and_says_what_it_holds(described, monkeypatch):
    text = fill(described)
    assert len(results(described)) == 3  # two seeds of one network, one of the other
    stored = json.loads(results(described)[0].read_text())
    assert (stored["epochs"], stored["split"]["train"], stored["split"]["stop"]) == (1, 4, 1)
    assert set(stored["conditions"]) == set(TABLE["conditions"]) and stored["cost"]["cpu_seconds"] > 0
    assert len(stored["conditions"]["euler"]["scores"]["ahd"]) == 3
    assert "3 of 3 cells are trained" in text and "0.25 / 0.5 / 7.5" in text and "quoted from the paper" in text
    assert "| second order | as trained | 2, 4 |" in text and "| 0, 1 |" in text
    assert "Not prepared, so not run: Absent." in text

    monkeypatch.setattr(training, "Curve", None)  # neither trained
    monkeypatch.setattr(scoring, "evaluate", None)  # nor scored again
    before = [path.read_bytes() for path in results(described)]
    assert fill(described) == text and [path.read_bytes() for path in results(described)] == before


def test_a_killed_cell_goes_on_and_ends_as_if_it_had_not_been(described, monkeypatch):
    whole = fill(described, epochs=3)
    weights = torch.load(first_cell(described) / "model.pt", weights_only=True)
    (described / "runs").rename(described / "uninterrupted")
    note = training.Curve.note

    def killed(self, evaluator, trainer):
        note(self, evaluator, trainer)
        if trainer.state.epoch == 2:  # noted, but its checkpoint is not written
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training.Curve, "note", killed)
        with pytest.raises(KeyboardInterrupt):
            fill(described, epochs=3)
    assert not results(described) and len(list((described / "runs").rglob("checkpoint.pt"))) == 1
    resumed = fill(described, epochs=3)
    assert scores_of(resumed) == scores_of(whole)
    curve = json.loads((first_cell(described) / "curve.json").read_text())
    assert [entry["epoch"] for entry in curve["epochs"]] == [1, 2, 3]
    again = torch.load(first_cell(described) / "model.pt", weights_only=True)
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def first_cell(folder):
    return folder / "runs" / "dots" / "second_order" / "filters_2-4" / "seed_0"


def scores_of(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def test_changed_settings_are_refused_by_name(described):
    fill(described)
    with pytest.raises(InputError, match=r"other settings \(max_epochs\): choose another --runs"):
        fill(described, epochs=2)


def test_a_setting_that_train_yaml_does_not_have_is_refused(described):
    with pytest.raises(InputError, match="has no such key; near are max_epochs"):
        fill(described, "--set", "max_epoch=3")


def test_an_estimate_trains_nothing(described, capsys):
    with pytest.raises(FileNotFoundError):  # no table is written
        fill(described, "--estimate")
    assert "| Dots | 3 |" in capsys.readouterr().out and not results(described)


@pytest.mark.parametrize("path", sorted(p for p in TABLES.glob("*.yaml") if "\nprotocol:" in p.read_text()))
def test_each_table_of_the_paper_is_described_without_a_mistake(path):
    table = Table(path)
    for figures in table.paper.values():
        for network, quoted in figures.items():
            assert len(quoted) <= len(table.shown.get(network, table.conditions)), network


def test_networks_of_equal_parameters_are_within_five_per_cent():
    table = Table(TABLES / "efficiency.yaml")
    sizes = {
        name: sum(weight.numel() for weight in table.build(name, table.filters(name, "parameters", 3), 3).parameters())
        for name in table.shown
    }
    assert sizes["second_order"] == 111_955  # as the docstring of the network says
    assert all(abs(size / 111_955 - 1) < 0.05 for size in sizes.values()), sizes


def test_scores_are_those_of_their_definitions():
    reference, prediction = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    reference[1, 1:3], prediction[1, 1] = True, True
    found = picture_scores(prediction, reference)
    foreground, background = 2 * 1 / (1 + 2), 2 * 14 / (15 + 14)
    assert found["dice"] == pytest.approx(foreground)
    assert found["dice_both"] == pytest.approx((foreground + background) / 2)
    assert found["accuracy"] == pytest.approx(15 / 16)
    assert found["ahd"] == pytest.approx((1 / 2 + 0) / 2)  # one of two pixels of the reference is 1 away; nothing back
    assert found["ahd_rows"] == pytest.approx((0 + 1 + 0 + 0) / 4 * 2)  # one row differs in a pixel, either way


def test_a_miss_is_the_diagonal_away_and_half_right_in_both_dice():
    reference = np.zeros((3, 4), bool)
    reference[0, 0] = True
    found = picture_scores(np.zeros_like(reference), reference)
    assert (found["dice"], found["ahd"]) == (0, pytest.approx(5)) and found["dice_both"] == pytest.approx(11 / 23)


def test_noise_has_unit_variance_and_is_the_same_at_every_call():
    noise = noise_of(3, (3, 64, 64))
    assert noise.std() == pytest.approx(1, abs=0.02) and torch.equal(noise, noise_of(3, (3, 64, 64)))
    assert not torch.equal(noise, noise_of(4, (3, 64, 64)))


def test_peak_memory_counts_what_is_alive_at_a_time():
    x = torch.zeros(1000)
    with PeakMemory() as memory:
        y = x + 1
        for _ in range(3):
            y = y * 2  # the old one lives until the new one is there
    assert (memory.peak, memory.alive) == (8000, 4000)


def test_epochs_are_counted_from_one():
    curve = np.array([0.1, 0.5, 0.4])
    assert (epochs_to(curve, 0.5), epochs_to(curve, 0.6)) == ("2", "never")
