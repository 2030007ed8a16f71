"""`evoseg segment` with a bundle that numbers objects: 16-bit masks, a row for each object, outlines, resumption."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.inference.grouping import ModeGrouping
from pipeline.inference.instances import InstanceInferer
from pipeline.inference.segmenter import Segmenter
from pipeline.io.image2d import read_image
from pipeline.io.segments import Segment


class TenTimes(nn.Module):
    """A perfect network: a picture of 0 ... 1 that holds a tenth of the values."""

    def forward(self, picture):
        return 10 * picture[:, :1]


@pytest.fixture
def segmenter(monkeypatch) -> Segmenter:
    made = Segmenter(
        network=TenTimes(),
        inferer=InstanceInferer(grouping=ModeGrouping(min_area=4)),
        intensity=lambda sample: sample,
        device=torch.device("cpu"),
        name="fake",
        version="1",
        weights_sha256="0",
        channels=3,
        names={1: "nucleus"},
        segments={1: Segment(name="nucleus")},
        modality="microscopy",
        field_of_view_mm=None,
        mirror_axes=(),
        gives="segmentation",
    )
    monkeypatch.setattr(Segmenter, "from_bundle", lambda *_, **__: replace(made))
    return made


def write(path: Path, columns: int) -> None:
    """`columns` pairs of squares that touch, with 20 % and 30 % of white."""
    picture = np.zeros((16, 20 * columns), np.uint8)
    for k in range(columns):
        picture[4:12, 20 * k + 2 : 20 * k + 10], picture[4:12, 20 * k + 10 : 20 * k + 17] = 51, 77
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def run(*arguments: str | Path) -> int:
    return CliRunner().invoke(app, ["segment", *map(str, arguments), "--bundle", "fake"]).exit_code


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("segmenter")
def test_a_folder_of_pictures_gives_masks_a_table_and_outlines_and_is_resumed(tmp_path: Path) -> None:
    write(tmp_path / "in/a.png", 2)
    write(tmp_path / "in/sub/many.png", 150)
    out = tmp_path / "out"
    assert run(tmp_path / "in", "-o", out) == 0
    mask = read_image(out / "sub/many.png").array
    assert mask.dtype == np.uint16 and len(np.unique(mask)) == 301
    assert (mask[4:12, 2:10] == 1).all() and (mask[4:12, 10:17] == 2).all()
    assert [row["count_nucleus"] for row in rows(out / "cases.csv")] == ["4", "300"]
    table = rows(out / "objects.csv")
    assert [row["case"] for row in table] == ["a"] * 4 + ["sub/many"] * 300
    assert table[1] | {"eccentricity": ""} == {
        "case": "a",
        "label": "2",
        "area_px": "56",
        "centroid_x": "13",
        "centroid_y": "7.5",
        "eccentricity": "",
        "mean_intensity": "77",
        "touches_border": "0",
    }
    assert (out / "overlays/a.png").is_file() and (out / "overlays/sub/many.png").is_file()
    write(tmp_path / "in/b.png", 1)
    (out / "a.png").unlink()
    assert run(tmp_path / "in", "-o", out, "--resume") == 0
    assert sorted(row["case"] for row in rows(out / "objects.csv")) == ["a"] * 4 + ["b"] * 2 + ["sub/many"] * 300


@pytest.mark.usefixtures("segmenter")
def test_an_object_at_the_border_is_told_in_the_table_and_is_no_flag(tmp_path: Path) -> None:
    picture = np.zeros((16, 20), np.uint8)
    picture[4:12, :6], picture[4:12, 10:16] = 51, 77
    Image.fromarray(picture).save(tmp_path / "cut.png")
    assert run(tmp_path / "cut.png", "-o", tmp_path / "out") == 0
    assert [row["touches_border"] for row in rows(tmp_path / "out/objects.csv")] == ["1", "0"]
    assert "TOUCHES_BORDER" not in rows(tmp_path / "out/cases.csv")[0]["flags"]


@pytest.mark.usefixtures("segmenter")
def test_a_table_of_somebody_elses_is_not_written_over(tmp_path: Path) -> None:
    write(tmp_path / "in/a.png", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/objects.csv").write_text("mine")
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 2
    assert (tmp_path / "out/objects.csv").read_text() == "mine"


@pytest.mark.usefixtures("segmenter")
def test_a_picture_without_objects_has_an_empty_mask_and_no_row(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(tmp_path / "dark.png")
    assert run(tmp_path / "dark.png", "-o", tmp_path / "out") == 0
    assert not read_image(tmp_path / "out/dark.png").array.any() and rows(tmp_path / "out/objects.csv") == []
    assert "EMPTY:nucleus" in (tmp_path / "out/cases.csv").read_text()
