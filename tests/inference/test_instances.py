"""Objects of pictures: tiles give what the whole gives, masks number every object, the table has a row for each."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.errors import CaseError
from pipeline.inference import object_table
from pipeline.inference.grouping import ModeGrouping
from pipeline.inference.instances import InstanceInferer, picture_objects
from pipeline.io.volume import Volume
from pipeline.networks.instance_net import InstanceNet
from pipeline.report.objects import objects_overlay

CPU, IDENTITY = torch.device("cpu"), np.eye(3)
GROUPING = ModeGrouping(min_area=4)


def unchanged(sample):
    return sample


def to_values(pictures):
    """A perfect network: a picture of 0 ... 1 that holds a tenth of the values."""
    return 10 * pictures[:, :1]


def discs(rows, columns, step=16):
    """Discs of radius 5 in a grid, of which every second column touches the first: values 2 and 3."""
    y, x = np.mgrid[:rows, :columns]
    centre = step // 2
    left = (y % step - centre) ** 2 + (x % step - centre + 3) ** 2 <= 25
    right = ((y % step - centre) ** 2 + (x % step - centre - 4) ** 2 <= 16) & ~left
    return (0.2 * left + 0.3 * right).astype(np.float32)[..., None]


def objects_of(values, network=to_values, **tiles):
    inferer = InstanceInferer(grouping=GROUPING, **tiles)
    return picture_objects(values, network, intensity=unchanged, inferer=inferer, device=CPU)


@pytest.mark.parametrize("shape", [(200, 330), (129, 500), (64, 1000)])
def test_a_picture_by_tiles_gives_the_objects_of_the_whole_picture(shape):
    values = discs(*shape)
    whole = objects_of(values, tile=1024)
    np.testing.assert_array_equal(objects_of(values, tile=64, halo=64), whole)
    assert whole.max() > 2 * (shape[0] // 16 * (shape[1] // 16)) - 1


def test_tiles_of_a_trained_kind_of_network_are_its_whole_map_when_the_halo_covers_what_it_sees():
    """The encoder to stride 8 and its way up see 100 pixels around; positions have the period of the tiles."""
    torch.manual_seed(0)
    network = InstanceNet(filters=(4, 4, 4, 4), position_period=64).eval()
    picture = torch.rand(1, 3, 96, 448)
    with torch.inference_mode():
        whole = network(picture)
        tiled = InstanceInferer(grouping=GROUPING, tile=64, halo=128)(picture, network)
        short = InstanceInferer(grouping=GROUPING, tile=64, halo=0)(picture, network)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)
    assert (short - whole).abs().max() > 1e-3


def test_mirrored_tiles_are_the_mirrored_whole():
    torch.manual_seed(0)
    network = InstanceNet(filters=(4, 4, 4, 4), position_period=64).eval()
    picture = torch.rand(1, 3, 96, 450)  # no multiple of the period: a tile mirrored by itself has other positions
    both = {"grouping": GROUPING, "mirror_axes": (0, 1), "margin": 1.0}
    with torch.inference_mode():
        whole = InstanceInferer(**both)(picture, network)
        tiled = InstanceInferer(tile=64, halo=128, **both)(picture, network)
        alone = InstanceInferer(grouping=GROUPING)(picture, network)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)
    assert (whole - alone).abs().max() > 1e-3


def test_mirrors_average_how_far_inside_a_pixel_lies_and_leave_the_numbers_alone():
    """A network that says of a pixel what its place is: 0, 1, 2 ... along its row, 10, 20 ... down its column."""

    def network(pictures):
        rows, columns = pictures.shape[2:]
        across, down = torch.arange(columns), 10 * torch.arange(1, rows + 1)
        return torch.stack([across.expand(rows, columns), down[:, None].expand(rows, columns)])[None].float()

    picture, f = torch.zeros(1, 1, 2, 5), torch.arange(5.0)
    given = InstanceInferer(grouping=GROUPING, mirror_axes=(0, 1), margin=2.0)(picture, network)
    # columns' mirror image says 4 ... 0; rows' says the same of f: of four views two are alike
    expected = (f.clamp(max=2) + f.flip(0).clamp(max=2)) / 2 + (f - 2).relu()
    torch.testing.assert_close(given[0, 0], expected.expand(2, 5))
    torch.testing.assert_close(given[0, 1], torch.tensor([[10.0], [20.0]]).expand(2, 5))  # of the picture as it is
    mean = InstanceInferer(grouping=GROUPING, mirror_axes=(0, 1), margin=None)(picture, network)
    torch.testing.assert_close(mean[0], torch.tensor([2.0, 15.0])[:, None, None].expand(2, 2, 5))


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (7, 5)])
def test_pictures_without_objects_and_of_any_size(shape):
    assert not objects_of(np.zeros((*shape, 1), np.float32)).any()
    assert objects_of(np.full((*shape, 1), 0.2, np.float32)).max() == (1 if shape[0] * shape[1] >= 4 else 0)


def test_more_objects_than_a_mask_can_number_are_refused(monkeypatch):
    monkeypatch.setattr("pipeline.inference.instances.MOST_OBJECTS", 3)
    with pytest.raises(CaseError, match="4 objects") as refused:
        objects_of(discs(16, 32))
    assert refused.value.code == "TOO_MANY_OBJECTS"


def test_tiles_that_would_see_other_positions_are_refused():
    with pytest.raises(ValueError, match="multiples of 64"):
        InstanceInferer(grouping=GROUPING, tile=100)


def test_the_table_has_a_row_an_object_and_drops_those_of_cases_that_are_not_done(tmp_path):
    path = tmp_path / "objects.csv"
    objects = np.zeros((6, 8), np.uint16)
    objects[1:3, 1:5], objects[4, 4] = 1, 2
    image = Volume(np.where(objects == 1, 9, 4).astype(np.uint8), IDENTITY)
    object_table.write(path, {})
    for case in ("a", "=b", "c"):
        object_table.add(path, object_table.rows(case, Volume(objects, IDENTITY), image))
    path.write_text(path.read_text() + "c,3,1")  # a run killed while it wrote
    object_table.write(path, object_table.read(path, keep={"a", "=b"}))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["'=b", "'=b", "a", "a"], "in the order of the ids"
    first = {name: float(value) for name, value in rows[2].items() if name != "case"}
    assert first["eccentricity"] == pytest.approx(np.sqrt(3) / 2, rel=1e-5)
    del first["eccentricity"]
    place = {"centroid_x": 2.5, "centroid_y": 1.5, "touches_border": 0}
    assert first == {"label": 1, "area_px": 8, "mean_intensity": 9} | place


def test_rows_of_a_table_with_fewer_columns_are_kept(tmp_path):
    path = tmp_path / "objects.csv"
    path.write_text("case,label,area_px\na,1,20\na,2\n")  # the last row is one that a killed run was writing
    (row,) = object_table.read(path, keep={"a"})["a"]
    assert row == ["a", "1", "20", *[""] * (len(object_table.COLUMNS) - 3)]


def test_a_colours_luminance_is_its_intensity():
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 100
    (row,) = object_table.rows("a", Volume(np.ones((2, 2), np.uint16), IDENTITY), Volume(red, IDENTITY))
    assert float(row[object_table.COLUMNS.index("mean_intensity")]) == pytest.approx(29.9)


def test_outlines_are_drawn_on_every_object_and_counted(tmp_path):
    objects = np.zeros((64, 64), np.uint16)
    objects[10:20, 10:20], objects[10:20, 20:30] = 1, 2
    grey = Volume(np.random.default_rng(0).integers(0, 9, (64, 64), dtype=np.uint8), IDENTITY)
    objects_overlay(grey, Volume(objects, IDENTITY), tmp_path / "a.png", name="nucleus")
    shown = np.asarray(Image.open(tmp_path / "a.png")).astype(int)
    coloured = (shown.max(axis=2) - shown.min(axis=2) > 50)[-512:]  # the picture, below its headline
    assert coloured[80, 80:240].all() and coloured[160 - 1, 80:240].all()  # eight pixels for one
    assert coloured[80:160, 159].all() and coloured[80:160, 160].all()  # also between two that touch
    assert not coloured[88:150, 88:150].any()
