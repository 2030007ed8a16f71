"""The tables of level sets on a few blocks and squares: trained, scored, stopped, gone on with; figures by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

HERE = Path(__file__).resolve().parent
TABLES = HERE.parents[1] / "configs" / "tables" / "level_sets"
sys.path.insert(0, str(HERE))  # as when fill_table.py is run

import fill_table  # noqa: E402
from paper_tables import level_sets, trials  # noqa: E402
from paper_tables.description import Table  # noqa: E402

from pipeline.networks.contour_evolution import ContourEvolution  # noqa: E402
from pipeline.networks.cost import parameters  # noqa: E402
from pipeline.numerics.signed_distance import signed_distance  # noqa: E402

WIDTHS = [16] * 6
STACK = {"widths": [16, 16], "blocks": 1, "groups": 8, "pooled": 8}


def describe(to: Path, name: str) -> Path:
    """A table and its protocol with networks of a toy's size."""
    content = yaml.safe_load((TABLES / f"{name}.yaml").read_text())
    protocol = yaml.safe_load((TABLES / content["protocol"]).read_text())
    protocol["train"] = str(TABLES / protocol["train"])
    for network, told in protocol["networks"].items():
        chosen, told["seeds"] = told.setdefault("set", {}), 1 if name == "salient" else 2
        made = chosen.get("network_def", {})
        if network == "unet_15m" and name != "salient":
            chosen["network_def::features"] = WIDTHS
        elif network == "dynunet":
            chosen["dynunet_def"]["filters"] = WIDTHS[:5]
        elif "evolution" in made:
            made["evolution"] |= {"features": WIDTHS, "embedding_features": WIDTHS}
        elif "embedding" in made:
            made["features"], made["embedding"]["channels"] = WIDTHS, 16
        elif network == "image_evolution":
            made |= STACK
        chosen.pop("pretrained", None)
    (to / content["protocol"]).write_text(yaml.safe_dump(protocol, sort_keys=False))
    (to / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return to / f"{name}.yaml"


@pytest.fixture
def kidneys(tmp_path):
    """data/btcv: four patients of 64 x 64 x 4, a bright block in the two slices in the middle; two folds."""
    folder, listed = tmp_path / "data/btcv", []
    for number in range(4):
        label = np.zeros((64, 64, 4), bool)
        label[10 + number : 40, 20:50, 1:3] = True
        distance = np.stack([signed_distance(label[..., k]) for k in range(4)], axis=2)
        case = {"id": f"p{number}", "patient": f"p{number}", "fold": number % 2}
        for kind, array in (("image", label * np.int16(200)), ("label", label * np.uint8(1)), ("distance", distance)):
            case[kind] = f"{kind}s/p{number}.nii.gz"
            (folder / f"{kind}s").mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / case[kind])
        listed.append(case)
    (folder / "dataset.json").write_text(json.dumps({"channels": ["CT"], "folds": 2, "cases": listed}))
    return tmp_path


def pictures(folder: Path, count: int, test: int) -> None:
    folder.mkdir(parents=True)
    listed, rng = [], np.random.default_rng(0)
    for k in range(count):
        label = np.zeros((64, 64), np.uint8)
        label[2 * k : 2 * k + 24, 20:44] = 1
        noisy = label[:, :, None] * 150 + rng.integers(0, 80, (64, 64, 3))
        Image.fromarray(noisy.astype(np.uint8)).save(folder / f"{k}.png")
        Image.fromarray(label).save(folder / f"{k}_label.png")
        case = {"id": str(k), "patient": str(k), "fold": 0, "split": "test" if k < test else "train"}
        listed.append(case | {"image": f"{k}.png", "label": f"{k}_label.png"})
    content = {"channels": ["red", "green", "blue"], "split": "by number", "cases": listed}
    (folder / "dataset.json").write_text(json.dumps(content))


def fill(folder: Path, name: str, *more: str) -> list[list[str]]:
    """The cells of the table's rows."""
    table = folder / f"{name}.yaml"
    if not table.is_file():
        describe(folder, name)
    small = {"max_epochs": 1, "filters": WIDTHS, "batch_size": 2, "device": "cpu", "mixed_precision": "false"}
    small |= {"crop_size": 64, "val_interval": 1} if name == "salient" else {}
    settings = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    places = ["--data", folder / "data", "--runs", folder / "runs", "--output", folder]
    fill_table.main([str(word) for word in (table, *places, *settings, *more)])
    lines = (folder / f"{name}.md").read_text().splitlines() if (folder / f"{name}.md").is_file() else []
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return [row for row in rows if row[0] not in ("network", "---")]


def test_one_command_fills_the_kidney_table_fold_by_fold(kidneys):
    rows = fill(kidneys, "kidneys")
    assert [row[2] for row in rows] == ["0, 1"] * 4 and rows[0][-1] == "0.8762"
    cell = kidneys / "runs/btcv/unet_5m/filters_16-16-16-16-16-16/seed_1"
    stored = json.loads((cell / "result.json").read_text())["conditions"]["as trained"]
    assert stored["patients"] == ["p1", "p3"]  # those of fold 1, whom no cell of seed 1 was trained on
    assert [counts[2] for counts in stored["overlaps"]["holding"]] == [2 * 29 * 30, 2 * 27 * 30]
    evolved = torch.load(kidneys / "runs/btcv/contour_evolution" / Path(*cell.parts[-2:]) / "model.pt")
    first = torch.load(cell / "model.pt")
    assert all(torch.equal(evolved[f"regressor.{name}"], weight) for name, weight in first.items())
    (cell / "result.json").unlink()  # one cell is missing, the others are not trained again
    kept = kidneys / "runs/btcv/unet_15m" / Path(*cell.parts[-2:]) / "model.pt"
    before = kept.stat().st_mtime_ns
    assert fill(kidneys, "kidneys") and kept.stat().st_mtime_ns == before


def test_what_goes_beyond_the_paper_stands_beside_the_evolution_as_trained(kidneys):
    rows = fill(kidneys, "beyond")
    begins = ["UNet"] * 2 + ["Node"] * 3 + ["UNet", "Node"] + ["cont"] * 3 + ["MONA"] * 2 + ["UNet"] * 2 + ["Node"]
    assert [row[0][:4] for row in rows] == begins
    assert [row[1].split(",")[0] for row in rows][:5] == ["as trained", "mirrored", "as trained", "mirrored", "dopri5"]
    assert all(row[3] == "0, 1" for row in rows)
    assert [row[7] == "–" for row in rows] == [False] * 2 + [True] + [False] * 12  # that is what all are beside
    assert [row[6] == "–" for row in rows] == [row[1].startswith("dopri5") for row in rows]
    asked = [float(row[1].split(", ")[1].split()[0]) for row in rows if row[1].startswith("dopri5")]
    assert len(asked) == 2 and min(asked) >= 7  # dopri5's fewest


def test_a_slice_has_its_neighbours_and_the_ends_themselves(kidneys):
    case = json.loads((kidneys / "data/btcv/dataset.json").read_text())["cases"][0]
    places = {key: kidneys / "data/btcv" / case[key] for key in ("image", "distance")}
    data = trials.NeighbouringSlices([places])
    volume = np.asarray(nib.load(places["image"]).dataobj)
    order = [1, 2, 0, 3]  # the slices with the object first
    for number, k in enumerate(order):
        expected = volume[..., np.clip([k - 1, k, k + 1], 0, 3)]
        assert np.array_equal(data[number]["image"], np.moveaxis(expected, 2, 0))


def test_curvature_shrinks_a_circle_by_one_over_its_radius_and_edges_hold_it():
    y, x = torch.meshgrid(torch.arange(65.0) - 32, torch.arange(65.0) - 32, indexing="ij")
    phi = (16 - (x.square() + y.square()).sqrt())[None, None]
    near = (phi.abs() < 1)[0, 0]
    moved = trials.geodesic(phi, torch.ones_like(phi), torch.tensor(1.0), torch.tensor(0.0))[0, 0]
    assert moved[near].mean().item() == pytest.approx(-1 / 16, rel=0.05)
    edge = (20 - (x.square() + y.square()).sqrt()).square()[None, None]  # g is least on the circle of radius 20
    drawn = trials.geodesic(phi, edge, torch.tensor(0.0), torch.tensor(1.0))[0, 0]
    assert drawn[near].min() > 0  # outwards, to it


def test_the_penalty_adds_its_gradient_and_leaves_the_map_alone():
    torch.manual_seed(0)
    settings = {"features": WIDTHS, "embedding_features": WIDTHS}
    paying = trials.PenalisedEvolution(weight=0.5, **settings)
    torch.nn.init.normal_(paying.flow.unet.final_conv.weight, std=0.1)
    image, initial = torch.randn(1, 1, 64, 64), torch.randn(1, 1, 64, 64)
    free = ContourEvolution(**settings)
    free.load_state_dict(paying.state_dict())
    assert torch.equal(paying(image, initial), free(image, initial))
    squares: list[torch.Tensor] = []
    field = free.flow.field

    def counted(t, y):
        squares.append(field(t, y))
        return squares[-1]

    free.flow.field = counted
    (free(image, initial).square().mean() + 0.5 * torch.stack([f.square().mean() for f in squares]).mean()).backward()
    paying(image, initial).square().mean().backward()
    for own, expected in zip(paying.parameters(), free.parameters(), strict=True):
        assert (own.grad is None) == (expected.grad is None)
        if own.grad is not None:
            torch.testing.assert_close(own.grad, expected.grad)


def test_the_missing_hours_are_estimated_and_nothing_is_trained(kidneys, capsys):
    assert fill(kidneys, "kidneys", "--estimate") == []
    assert "| all | 8 |" in capsys.readouterr().out and not (kidneys / "runs").exists()


def test_salient_objects_are_scored_on_what_is_prepared(tmp_path):
    pictures(tmp_path / "data/ecssd", 12, test=2)
    pictures(tmp_path / "data/hku_is", 3, test=3)
    rows = fill(tmp_path, "salient")
    written = (tmp_path / "salient.md").read_text()
    assert len(rows) == 4 * 2 and not any(row[-2] == "not run yet" for row in rows)  # networks x conditions
    assert "Not prepared, so not tested: PASCAL-S, true masks above 0; PASCAL-S, true masks above 0.5." in written
    assert "Not prepared, so not run: trained on MSRA10K" in written
    stored = json.loads(next((tmp_path / "runs/ecssd/image_evolution").rglob("result.json")).read_text())["conditions"]
    assert {name: len(found["pictures"]) for name, found in stored.items()} == {"ECSSD": 2, "HKU-IS": 3}
    pictures(tmp_path / "data/pascal_s", 4, test=4)
    assert len(fill(tmp_path, "salient")) == 4 * 3  # prepared since: scored, not trained


def test_pooled_figures_weigh_every_pixel_and_differences_every_patient():
    def row(network, overlaps):
        scores = {"patients": ["a", "b"], "overlaps": {"holding": overlaps, "all": overlaps}}
        stored = {0: {"conditions": {"as trained": scores}, "cost": {"parameters": 5, "cpu_seconds": 90}}}
        line = level_sets.Line(dataset="btcv", comparison="filters", network=network, cells=())
        return level_sets.Row(line, "as trained", stored)

    table = Table(TABLES / "kidneys.yaml")
    ours, theirs = row("contour_evolution", [[90, 100, 100], [1, 2, 2]]), row("unet_5m", [[80, 100, 100], [2, 2, 2]])
    _, cells = level_sets._kidney_rows(table, [theirs, ours])
    assert cells[0][4].startswith(f"{82 / 122:.4f}") and cells[1][4].startswith(f"{91 / 113:.4f}")
    assert cells[0][3] == "1.5"  # minutes
    assert cells[0][6].startswith(f"{(90 / 110 - 80 / 120 + 1 / 3 - 1) / 2:+.4f}") and cells[1][6] == "–"


@pytest.mark.parametrize("name", ["kidneys", "salient"])
def test_each_network_has_the_parameters_that_its_title_tells(name):
    table = Table(TABLES / f"{name}.yaml")
    for network in table.shown:
        told = float(table.networks[network]["title"].split()[-1].removesuffix("M"))
        made = table.build(network, table.base["filters"], 3 if name == "salient" else 1)
        assert parameters(made) == pytest.approx(told * 1e6, rel=0.04)
