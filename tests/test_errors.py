"""Refusals keep their code, and the table of codes holds those that exist."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from pipeline.errors import CASE_CODES, CaseError, InputError, root_cause

ROOT = Path(__file__).resolve().parents[1]


def test_a_code_that_is_not_in_the_table_cannot_be_raised() -> None:
    with pytest.raises(KeyError, match="NO_SUCH_CODE"):
        CaseError("NO_SUCH_CODE", "...")


def test_every_code_of_the_table_is_used() -> None:
    files = [path for folder in ("pipeline", "data_prep") for path in (ROOT / folder).rglob("*.py")]
    code = "".join(path.read_text(encoding="utf-8") for path in files if path.name != "errors.py")
    assert not set(CASE_CODES) - set(re.findall(r'"([A-Z0-9_]+)"', code))


def test_a_refusal_comes_whole_out_of_another_process() -> None:
    found = pickle.loads(pickle.dumps(CaseError("SLICE_GAP", "slice 3 is missing")))
    assert (type(found), found.code, found.message, str(found)) == (
        CaseError,
        "SLICE_GAP",
        "slice 3 is missing",
        "slice 3 is missing",
    )


def test_the_refusal_under_several_wrappings_is_the_cause() -> None:
    refusal = InputError("no images in DIR")
    refusal.__cause__ = FileNotFoundError()  # what the sentence was made from: not the sentence
    inner, outer = RuntimeError("Failed to instantiate"), RuntimeError("Failed to evaluate")
    inner.__cause__, outer.__cause__ = refusal, inner
    assert root_cause(outer) is refusal
    assert root_cause(refusal) is refusal
    assert root_cause(ZeroDivisionError()).__class__ is ZeroDivisionError
