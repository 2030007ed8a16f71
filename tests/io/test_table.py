"""Tables survive spreadsheets, and come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.io.table import read_table, write_table

EVIL = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "'=1", "''-2", "  =3", "' =4", "two  blanks "]


def test_no_text_starts_as_a_formula_does_and_all_of_it_comes_back(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ["text"], [{"text": text} for text in EVIL])
    assert not any(line.lstrip('" ')[0] in "=+-@" for line in (tmp_path / "t.csv").read_text().splitlines())
    assert [row["text"] for row in read_table(tmp_path / "t.csv")] == EVIL


def test_negative_numbers_stay_numbers_and_nan_is_empty(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ["a", "b", "c"], [{"a": -1.5, "b": float("nan")}])
    assert (tmp_path / "t.csv").read_text() == "a,b,c\n-1.5,,\n"


def test_text_is_put_on_one_line(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ["a"], [{"a": "two\r\nlines, and\ttabs"}])
    assert (tmp_path / "t.csv").read_text() == 'a\n"two lines, and tabs"\n'


@pytest.mark.parametrize("text", ["a,b\n1\n", "a,b\n1,2,3\n"])
def test_a_row_that_does_not_fit_its_header_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match="header"):
        read_table(tmp_path / "t.csv")
