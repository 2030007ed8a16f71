from __future__ import annotations

import re
from collections import Counter

import pytest

from data_prep.folds import Split, assign_folds, patient_of
from pipeline.errors import InputError

PATIENTS = [f"p{index}" for index in range(14)]


@pytest.mark.parametrize(
    ("id", "patient"),
    [
        ("case0006", "case0006"),
        ("la_003", "la_003"),  # a bare number names the patient in most datasets
        ("anna_scan1", "anna"),
        ("sub-01_ses-02_run-1", "sub-01"),
        ("patient001_frame12", "patient001"),
        ("x-visit_3", "x"),
    ],
)
def test_the_patient_is_the_id_without_what_names_a_repeated_scan(id: str, patient: str) -> None:
    assert patient_of(id) == patient


def test_a_pattern_finds_the_patient_by_its_group_or_its_match() -> None:
    assert patient_of("study_12_b", re.compile(r"study_(\d+)")) == "12"
    assert patient_of("AB12b", re.compile(r"[A-Z]+\d+")) == "AB12"


def test_a_pattern_that_does_not_match_names_the_case() -> None:
    with pytest.raises(InputError, match="does not match the case x1"):
        patient_of("x1", re.compile("y"))


def test_folds_are_balanced_by_scans() -> None:
    scans = ["a"] * 4 + ["b", "c", "d", "e"]
    folds = assign_folds(scans, Split(folds=2))
    assert Counter(folds[patient] for patient in scans) == {0: 4, 1: 4}


def test_fourteen_patients_in_three_folds_are_five_five_and_four() -> None:
    assert sorted(Counter(assign_folds(PATIENTS, Split(folds=3)).values()).values()) == [4, 5, 5]


def test_the_seed_draws_the_folds_and_the_order_of_the_names_does_not() -> None:
    first = assign_folds(PATIENTS, Split(folds=3, seed=0))
    assert assign_folds(PATIENTS[::-1], Split(folds=3, seed=0)) == first
    assert assign_folds(PATIENTS, Split(folds=3, seed=1)) != first


@pytest.mark.parametrize("folds", [0, 3])
def test_there_are_no_more_folds_than_patients(folds: int) -> None:
    with pytest.raises(InputError, match=f"--folds {folds} must lie between 1 and 2"):
        assign_folds(["a", "a", "b"], Split(folds=folds))
