"""Files beside label maps name labels and patients."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.evaluation.names import label_names, patients


def describe(path: Path, **content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("labels", [{"0": "background", "1": "kidney"}, {"background": 0, "kidney": 1}])
@pytest.mark.parametrize("place", ["labels/run.json", "dataset.json"])
def test_labels_are_named_by_the_file_beside_or_above(tmp_path: Path, labels, place: str) -> None:
    describe(tmp_path / place, labels=labels)
    (tmp_path / "labels").mkdir(exist_ok=True)
    assert label_names(tmp_path / "labels", tmp_path / "labels") == {1: "kidney"}


def test_without_such_a_file_labels_have_no_names(tmp_path: Path) -> None:
    assert label_names(tmp_path) is None
    assert patients(tmp_path) == {}


def test_two_files_that_disagree_are_refused(tmp_path: Path) -> None:
    describe(tmp_path / "a" / "run.json", labels={"1": "kidney"})
    describe(tmp_path / "b" / "dataset.json", labels={"1": "liver"})
    with pytest.raises(InputError, match=r"label 1 is liver.*kidney.*--labels"):
        label_names(tmp_path / "a", tmp_path / "b")
    describe(tmp_path / "b" / "dataset.json", labels={"2": "kidney"})
    with pytest.raises(InputError, match="label 2 is kidney"):
        label_names(tmp_path / "a", tmp_path / "b")


def test_two_files_may_name_different_labels(tmp_path: Path) -> None:
    describe(tmp_path / "a" / "run.json", labels={"1": "kidney"})
    describe(tmp_path / "b" / "dataset.json", labels={"2": "tumour", "1": "kidney"})
    assert label_names(tmp_path / "a", tmp_path / "b") == {1: "kidney", 2: "tumour"}


def test_what_is_no_number_and_name_is_refused(tmp_path: Path) -> None:
    describe(tmp_path / "dataset.json", labels={"kidney": [1, 2]})
    with pytest.raises(InputError, match=r"kidney: \[1, 2\].*--labels"):
        label_names(tmp_path)


def test_patients_are_those_of_the_dataset(tmp_path: Path) -> None:
    describe(tmp_path / "dataset.json", cases=[{"id": "a_1", "patient": "a"}, {"id": "b", "patient": "b"}, {"x": 1}])
    (tmp_path / "labels").mkdir()
    assert patients(tmp_path / "labels") == {"a_1": "a", "b": "b"}
