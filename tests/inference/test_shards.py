"""Shares of a batch for schedulers: together they are all cases, each once, and the last step joins their records."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.inference.batch import segment_folder
from pipeline.inference.plan import Plan
from pipeline.inference.records import CaseResult
from pipeline.inference.shards import Shard
from pipeline.io.discover import Case, find_cases
from tests.inference.fakes import Bright, Layer, write_scan

IDS = ["a", "b", "c", "d", "e"]


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    for name in IDS:
        write_scan(tmp_path / "in" / f"{name}.nii.gz")
    return find_cases(tmp_path / "in")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def shard(number: int) -> Plan:
    return Plan(shard=Shard(number, 2))


def ids(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]


def files(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()}


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_shares_are_disjoint_complete_equal_in_size_and_independent_of_the_order(cases: list[Case], of: int) -> None:
    shares = [Shard(number, of).share(cases) for number in range(1, of + 1)]
    assert sorted(case.id for share in shares for case in share) == IDS
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert [Shard(1, of).share(cases[::-1])[::-1]] == [shares[0]]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "1/2/3", "-1/2", ""])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="I/N"):
        Shard.parse(text)
    assert Shard.parse("2/8") == Shard(2, 8)


def test_shards_share_a_folder_and_the_whole_run_joins_them(cases: list[Case], out: Path) -> None:
    for number in (1, 2):
        segment_folder(cases, Bright(), out, shard(number))
    assert ids(out / "cases-1-of-2.csv") == ["a", "c", "e"]
    assert files(out) >= {"cases-2-of-2.csv", "run-2-of-2.json"} and "cases.csv" not in files(out)
    untouched = Layer(lambda device: pytest.fail("segmented again"))
    results = segment_folder(cases, Bright(untouched), out, Plan(resume=True))
    assert [result.status for result in results] == ["ok"] * 5
    assert files(out) == {f"{name}.nii.gz" for name in IDS} | {"cases.csv", "run.json"}
    assert ids(out / "cases.csv") == IDS
    assert json.loads((out / "run.json").read_text())["cases"] == {"ok": 5, "failed": 0, "skipped": 0}


def test_the_whole_run_does_what_no_shard_has_done(cases: list[Case], out: Path) -> None:
    segment_folder(cases, Bright(), out, shard(2))
    calls: list[str] = []
    segment_folder(cases, Bright(Layer(calls.append)), out, Plan(resume=True))
    assert len(calls) == 3
    assert ids(out / "cases.csv") == IDS


def test_a_shard_goes_on_with_what_an_earlier_whole_run_has_done(cases: list[Case], out: Path) -> None:
    segment_folder(cases[:1], Bright(), out)
    calls: list[str] = []
    segment_folder(cases, Bright(Layer(calls.append)), out, replace(shard(1), resume=True))
    assert len(calls) == 2  # c and e
    assert ids(out / "cases-1-of-2.csv") == ["a", "c", "e"]


def test_what_shards_have_done_since_a_whole_run_was_stopped_is_not_done_again(cases: list[Case], out: Path) -> None:
    def stop(device: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_folder(cases, Bright(Layer(stop)), out)
    for number in (1, 2):
        segment_folder(cases, Bright(), out, replace(shard(number), resume=True))
    assert ids(out / "cases-2-of-2.csv") == ["b", "d"]  # not what is not tried yet, as the whole run says, of shard 1
    untouched = Layer(lambda device: pytest.fail("segmented again"))
    results = segment_folder(cases, Bright(untouched), out, Plan(resume=True))
    assert [result.status for result in results] == ["ok"] * 5


def test_shards_are_not_replaced_by_surprise(cases: list[Case], out: Path) -> None:
    segment_folder(cases, Bright(), out, shard(1))
    for plan in (shard(1), Plan()):
        with pytest.raises(InputError, match=r"--resume.*--overwrite"):
            segment_folder(cases, Bright(), out, plan)
    segment_folder(cases, Bright(), out, Plan(overwrite=True))
    assert "cases-1-of-2.csv" not in files(out)


def test_objects_of_shards_come_together_in_the_order_of_the_cases(
    cases: list[Case], out: Path, tmp_path: Path
) -> None:
    import numpy as np
    from PIL import Image

    picture = np.zeros((8, 9, 3), np.uint8)
    picture[2:4, 3:6] = 200
    for name in IDS:
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    pictures = [Case(name, "image", (tmp_path / f"{name}.png",)) for name in IDS]

    class OfPictures(Bright):
        def __call__(self, image, prompt=None, *, trajectory=False):
            grey = type(image)(image.array[..., 0], image.affine)
            return super().__call__(grey)

    segmenter = OfPictures(spatial_dims=2, numbers_objects=True)
    for number in (2, 1):
        segment_folder(pictures, segmenter, out, shard(number))
    segment_folder(pictures, segmenter, out, Plan(resume=True))
    with (out / "objects.csv").open(newline="") as file:
        assert [row["case"] for row in csv.DictReader(file)] == IDS
    assert not list(out.glob("objects-*"))


def test_shards_work_side_by_side_and_neither_the_whole_run_nor_the_same_shard_beside_them(
    cases: list[Case], out: Path
) -> None:
    """The others are started while the second shard tells of a case."""

    def meanwhile(result: CaseResult) -> None:
        with ThreadPoolExecutor(1) as elsewhere:  # the thread that holds the folder may hold it again
            for plan in (Plan(resume=True), replace(shard(2), resume=True)):
                with pytest.raises(InputError, match="another run is at work"):
                    elsewhere.submit(segment_folder, cases, Bright(), out, plan).result()
            elsewhere.submit(segment_folder, cases, Bright(), out, replace(shard(1), overwrite=True)).result()

    assert len(segment_folder(cases, Bright(), out, shard(2), report=meanwhile)) == 2
    assert {"cases-1-of-2.csv", "cases-2-of-2.csv"} <= files(out)
