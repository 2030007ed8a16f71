"""--centers and --volumes: what a row means on an image's own grid, which rows are refused, and what is recorded."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from pipeline.cli import batch_run
from pipeline.cli.app import app
from pipeline.cli.objects import Objects
from pipeline.errors import CaseError, InputError
from pipeline.inference.segmenter import Segmentation
from pipeline.io.discover import Case
from pipeline.io.segments import Segment
from pipeline.io.volume import Volume

BUNDLE = "continuous_unet_isic_segmentation"  # label 1 is called lesion
CASES = [Case("a", "image", (Path("a.png"),)), Case("sub/b", "image", (Path("sub/b.png"),))]
FLAT = Volume(np.zeros((20, 30), np.uint8), np.eye(3))
SIZED = Volume(np.zeros((20, 30), np.uint8), np.diag([0.5, 0.25, 1.0]))  # mm along rows, along columns
SOLID = Volume(np.zeros((10, 11, 12), np.int16), np.array([[0.0, -2, 0, 5], [3, 0, 0, 0], [0, 0, 4, 1], [0, 0, 0, 1]]))


@pytest.fixture
def known(tmp_path):
    """Lines of the two tables -> what is known of the cases."""

    def read(centers: str = "", volumes: str = "", z: str = ""):
        paths = {}
        for name, head, rows in (("centers", f"x,y,{z}unit", centers), ("volumes", "lo,hi,unit", volumes)):
            paths[name] = tmp_path / f"{name}.csv" if rows else None
            if paths[name]:
                paths[name].write_text(f"case,label,{head}\n{rows}\n", encoding="utf-8-sig")  # as a spreadsheet does
        return Objects(bundle=BUNDLE, **paths).pair(CASES, [])[1]

    return read


def test_x_runs_along_the_columns_of_a_picture(known):
    prompt = known("a,lesion,12.5,7,px\na,1,3,4,px")(CASES[0], FLAT)
    assert prompt.centers[1].tolist() == [[7, 12.5], [4, 3]] and prompt.volumes == {}


def test_a_case_without_a_row_has_no_prompt(known):
    assert known("a,lesion,12,7,px")(CASES[1], FLAT) is None


def test_millimetres_are_those_of_the_images_pixels(known):
    assert known("a,lesion,3,5,mm")(CASES[0], SIZED).centers[1].tolist() == [[10, 12]]
    index = [4.0, 2.0, 3.0]
    world = SOLID.affine @ [*index, 1]
    prompt = known(f"a,lesion,{world[0]},{world[1]},{world[2]},mm", z="z,")(CASES[0], SOLID)
    np.testing.assert_allclose(prompt.centers[1], [index], atol=1e-9)


def test_volumes_are_counted_in_pixels(known):
    def counted(row, image):
        return known(volumes=row)(CASES[0], image).volumes[1]

    assert counted("a,lesion,7,9,px", FLAT) == (7, 9)
    assert counted("a,lesion,1,1000,mm2", SIZED) == (8, 600)  # of 1/8 mm2 each; no more than the image has
    assert counted("a,lesion,0.24,0.48,ml", SOLID) == (10, 20)  # of 24 mm3 each
    assert counted("a,lesion,240,240,mm3", SOLID) == (10, 10)


@pytest.mark.parametrize(
    ("centers", "volumes", "said"),
    [
        ("c,lesion,1,2,px", "", r"line 2: case is 'c', it must be one of a, sub/b"),
        ("a,kidney,1,2,px", "", r"label is 'kidney', it must be one of 1, lesion"),
        ("a,lesion,1,2,px\na,lesion,1,2,cm", "", r"line 3: unit is 'cm'.*mm, px"),
        ("a,lesion,one,2,px", "", r"x is 'one', it must be a number"),
        ("a,lesion,nan,2,px", "", r"x is 'nan', it must be a number"),
        ("a,lesion,1,2,px\na,1,1.0,2,px", "", r"line 3 says what .*line 2 says"),
        ("a,lesion,1,2", "", r"cannot be read .*longer or shorter"),
        ("", "a,lesion,1,2,px\na,1,3,4,px", r"line 3 says what .*line 2 says"),
        ("", "a,lesion,3,2,px", r"lo to hi is 3 to 2: 0 <= lo <= hi"),
        ("", "a,lesion,-1,2,px", r"lo to hi is -1 to 2"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused_before_anything_starts(known, centers, volumes, said):
    with pytest.raises(InputError, match=said):
        known(centers, volumes)


def test_a_file_that_is_no_table_is_refused(tmp_path):
    for content, said in ((b"\xff\xfe\x00", "cannot be read"), (b"", "needs the columns"), (b"a;b\n1;2", "case,label")):
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(InputError, match=said):
            Objects(bundle=BUNDLE, centers=tmp_path / "t.csv", volumes=None).pair(CASES, [])
    with pytest.raises(InputError, match="cannot be read"):
        Objects(bundle=BUNDLE, centers=tmp_path / "missing.csv", volumes=None).pair(CASES, [])


@pytest.mark.parametrize(
    ("centers", "volumes", "z", "image", "said"),
    [
        ("a,lesion,30,2,px", "", "", FLAT, "outside of the image, whose pixels are x 0 to 29, y 0 to 19"),
        ("a,lesion,1,-0.6,px", "", "", FLAT, "outside"),
        ("a,lesion,1,2,mm", "", "", FLAT, "does not tell its pixels' size"),
        ("a,lesion,1,2,3,px", "", "z,", FLAT, "2 dimensions has 2 coordinates"),
        ("a,lesion,1,2,px", "", "", SOLID, "3 dimensions has 3 coordinates"),
        ("", "a,lesion,601,900,px", "", FLAT, "601 pixels are more than the image has, 600"),
        ("", "a,lesion,1,2,ml", "", SIZED, "has no ml"),
        ("", "a,lesion,1,2,mm2", "", FLAT, "does not tell"),
    ],
)
def test_a_row_that_does_not_fit_its_image_fails_that_case(known, centers, volumes, z, image, said):
    with pytest.raises(CaseError, match=said) as refused:
        known(centers, volumes, z)(CASES[0], image)
    assert refused.value.code == "BAD_OBJECT"


class Asked:
    """Stands in for a Segmenter: labels nothing, and says that it has used what it was asked."""

    name, version, weights_sha256, device = "asked", "1.0", "abc", "cpu"
    licence = ""
    spatial_dims, modality, field_of_view_mm, segments = 2, "US", None, {1: Segment(name="lesion")}
    numbers_objects, network = False, nn.Identity()
    names = {1: "lesion"}  # noqa: RUF012

    def __call__(self, image, prompt=None, *, trajectory=False):
        labels = Volume(np.zeros(image.array.shape[:2], np.uint8), image.affine)
        if prompt is None:
            return Segmentation(labels, self.names)
        return Segmentation(labels, self.names, centers=prompt.centers, volumes=prompt.volumes)


def test_what_was_used_stands_in_the_table_and_a_changed_table_is_not_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_run, "_segmenter", lambda job, evolves: Asked())
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(np.full((20, 30), 99, np.uint8)).save(tmp_path / "in" / f"{name}.png")
    (tmp_path / "c.csv").write_text("case,label,x,y,unit\na,lesion,12.5,7,px\na,lesion,3,4,px\nc,lesion,99,1,px\n")
    (tmp_path / "v.csv").write_text("case,label,lo,hi,unit\na,lesion,5,6,px\n")

    def run(*more):
        tables = ["--centers", str(tmp_path / "c.csv"), "--volumes", str(tmp_path / "v.csv")]
        words = ["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--bundle", BUNDLE, *tables, *more]
        return CliRunner().invoke(app, words).exit_code

    assert run() == 1  # c failed
    with (tmp_path / "out/cases.csv").open(newline="") as file:
        a, b, c = csv.DictReader(file)
    assert [a[key] for key in ("center_x", "center_y", "center_x_2", "center_y_2")] == ["12.5", "7", "3", "4"]
    assert (a["least_px"], a["most_px"]) == ("5", "6")
    assert b["status"] == "ok" and b["center_x"] == "" and c["code"] == "BAD_OBJECT"
    (tmp_path / "c.csv").write_text("case,label,x,y,unit\na,lesion,1,2,px\n")
    assert run("--resume") == 0
    with (tmp_path / "out/cases.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["center_x"] == "1"
