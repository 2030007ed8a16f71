from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path

import pytest

from data_prep.folds import Split
from data_prep.picture_layout import GREY, Part, Picture, PictureSet
from data_prep.picture_read import union
from data_prep.splits import Place, drawn, joined, places

IDS = [f"benign_{k}" for k in range(1, 438)] + [f"malignant_{k}" for k in range(1, 211)]


def pictures(ids: list[str], **known: object) -> list[Picture]:
    return [
        Picture(id=id, image=Path(f"{id}.png"), masks=(Path("m.png"),), category=id.split("_")[0], **known)  # type: ignore[arg-type]
        for id in ids
    ]


def dataset(listed: list[Picture], share: float = 129 / 647) -> PictureSet:
    return PictureSet(
        name="x",
        root=Path(),
        channels=GREY,
        labels={1: "lesion"},
        read_label=union,
        pictures=tuple(listed),
        protocol="",
        test_share=share,
        aside=("normal",),
    )


def parts(placed: dict[str, Place]) -> Counter[str | None]:
    return Counter(place.part for place in placed.values())


def test_busi_is_divided_as_in_the_paper() -> None:
    assert parts(places(dataset(pictures(IDS)), {}, Split())) == {"train": 518, "test": 129}


@pytest.mark.parametrize("seed", range(8))
def test_pictures_that_are_equal_stand_on_one_side_of_every_split(seed: int) -> None:
    same = {"benign_433": "equal", "malignant_145": "equal"}
    for folds in (2, 5):
        placed = places(dataset(pictures(IDS)), same, Split(folds=folds, seed=seed))
        assert placed["benign_433"] == placed["malignant_145"]
        assert parts(placed) == {"train": 518, "test": 129}


def test_patients_who_share_a_picture_are_one_through_any_chain() -> None:
    patients = {"a1": "a", "b1": "b", "b2": "b", "c1": "c", "d1": "d"}
    pixels = {"a1": "x", "b1": "x", "b2": "y", "c1": "y", "d1": "z"}
    assert joined(patients, pixels) == {"a1": "a", "b1": "a", "b2": "a", "c1": "a", "d1": "d"}


def test_the_seed_draws_the_test_part_and_the_order_of_the_pictures_does_not() -> None:
    first = places(dataset(pictures(IDS)), {}, Split(seed=0))
    assert places(dataset(pictures(IDS[::-1])), {}, Split(seed=0)) == first
    assert places(dataset(pictures(IDS)), {}, Split(seed=1)) != first


def test_pictures_set_aside_are_divided_too_and_change_nothing_for_the_others() -> None:
    alone = places(dataset(pictures(IDS)), {}, Split())
    normal = [f"normal_{k}" for k in range(1, 134)]
    both = places(dataset(pictures(IDS + normal)), {}, Split())
    assert {id: both[id] for id in IDS} == alone
    assert parts({id: both[id] for id in normal}) == {"train": 106, "test": 27}  # 133 * 129 / 647 = 26.5
    assert {both[id].fold for id in normal} == {0, 1, 2}


def test_patients_are_drawn_whole_and_never_too_many() -> None:
    patients = ["a"] * 6 + ["b"] * 3 + ["c"]
    for seed in range(10):
        chosen = drawn(patients, 0.4, seed)
        assert sum(patients.count(patient) for patient in chosen) == 4  # 6 are too many: 3 and 1


def test_a_published_split_is_kept_and_what_it_parts_is_told(caplog: pytest.LogCaptureFixture) -> None:
    given: list[tuple[str, Part | None]] = [("a", "train"), ("b", "test"), ("c", None)]
    listed = [picture for id, part in given for picture in pictures([id], part=part)]
    with caplog.at_level(logging.INFO):
        placed = places(dataset(listed), {"a": "same", "b": "same", "c": "other"}, Split(folds=2))
    assert {id: place.part for id, place in placed.items()} == dict(given)
    assert [r.levelname for r in caplog.records] == ["INFO", "WARNING"] and "a, b" in caplog.text


def test_published_folds_are_kept() -> None:
    listed = [picture for k in range(6) for picture in pictures([f"im_{k}"], fold=k % 2)]
    placed = places(dataset(listed), {}, Split(folds=3))
    assert [placed[f"im_{k}"].fold for k in range(6)] == [0, 1, 0, 1, 0, 1]


def test_a_publishers_patients_share_a_fold_and_patient_finds_others() -> None:
    listed = [picture for k in range(8) for picture in pictures([f"im_{k}"], patient=f"p{k // 2}")]
    placed = places(dataset(listed), {}, Split(folds=4))
    assert all(placed[f"im_{2 * k}"] == placed[f"im_{2 * k + 1}"] for k in range(4))
    found = places(dataset(listed), {}, Split(folds=2, patient=re.compile(r"im_(\d)")))
    assert {id: place.patient for id, place in found.items()} == {f"im_{k}": str(k) for k in range(8)}
