"""The record of a batch: enough on disk at every moment, at a cost that grows as the number of cases does."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from pipeline.errors import CaseError, InputError
from pipeline.inference import recording
from pipeline.inference.recording import Record
from pipeline.inference.records import CaseResult, RecordFiles, read_cases, write_cases
from pipeline.inference.stages import Outcome
from pipeline.io import whole_file

SETTINGS = {"bundle": "kidneys"}


def result(name: str, **facts: object) -> CaseResult:
    return CaseResult(id=name, source=f"{name}.nii", status="ok", **facts)


def begun(out: Path, *, resume: bool = False, without: frozenset[str] = frozenset()) -> Record:
    record = Record(RecordFiles(out), SETTINGS, {}, resume=resume)
    record.begin(keep=frozenset(), without=without)
    return record


def test_a_result_is_on_disk_at_once_and_the_table_is_written_seldom(tmp_path: Path, monkeypatch) -> None:
    written: list[int] = []

    def counted(path: Path, results) -> None:
        written.append(len(list(results)))
        write_cases(path, results)

    monkeypatch.setattr(recording, "write_cases", counted)
    record = begun(tmp_path)
    for k in range(300):
        record.add(Outcome(result(f"case_{k}")))
        assert len(written) > 1 or k == 0
    assert len(read_cases(RecordFiles(tmp_path))) == 300  # nobody has closed the record
    assert sum(written) < 13 * 300  # 1 + 1.1 + 1.1^2 + ... : eleven times the last, and the first ten one by one
    record.close([], ended="now")
    assert {path.name for path in tmp_path.iterdir()} == {"cases.csv", "run.json"}


def test_a_line_that_a_kill_cut_short_costs_that_case_only(tmp_path: Path) -> None:
    record = begun(tmp_path)
    for name in "ab":
        record.add(Outcome(result(name, sizes={"volume_ml": 1 / 3}, flags=("EMPTY:x",))))
    write_cases(RecordFiles(tmp_path).cases, [])  # as if the table were older than the journal
    journal = RecordFiles(tmp_path).journal
    journal.write_bytes(journal.read_bytes()[:-9])
    kept = Record(RecordFiles(tmp_path), SETTINGS, {}, resume=True).results
    assert kept == {"a": result("a", sizes={"volume_ml": 1 / 3}, flags=("EMPTY:x",))}


def test_results_of_other_settings_are_not_taken_over_from_a_journal_either(tmp_path: Path) -> None:
    begun(tmp_path).add(Outcome(result("a")))
    assert Record(RecordFiles(tmp_path), {"bundle": "livers"}, {}, resume=True).results == {}


@pytest.mark.parametrize("step", range(3))
def test_a_kill_while_a_resumed_run_begins_loses_nothing(tmp_path: Path, monkeypatch, step: int) -> None:
    begun(tmp_path).add(Outcome(result("a")))
    (tmp_path / "run-1-of-1.json").write_text(json.dumps(SETTINGS))
    write_cases(tmp_path / "cases-1-of-1.csv", [result("b")])
    write, left = whole_file.os.replace, [None] * step

    def dying(*paths) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        write(*paths)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt if step < 2 else SystemExit):
        patch.setattr(whole_file.os, "replace", dying)
        begun(tmp_path, resume=True)
        raise SystemExit
    assert Record(RecordFiles(tmp_path), SETTINGS, {}, resume=True).results.keys() == {"a", "b"}


def test_a_size_that_no_case_has_has_no_column_so_that_reading_and_writing_changes_nothing(tmp_path: Path) -> None:
    table = RecordFiles(tmp_path)
    write_cases(
        table.cases,
        [result("b", sizes={"z": 2.0, "y": 3.0}), result("a", sizes={"x": float("nan"), "y": 1 / 3}), result("c")],
    )
    text = table.cases.read_text()
    assert text.splitlines()[0] == "id,source,status,code,message,seconds,y,z,flags"
    write_cases(table.cases, read_cases(table).values())
    assert table.cases.read_text() == text


def test_a_journal_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch, caplog) -> None:
    record = begun(tmp_path)
    record.add(Outcome(result("a")))

    def full(path: Path, text: str) -> None:
        raise CaseError("WRITE_FAILED", f"{path}: {errno.errorcode[errno.ENOSPC]}")

    with monkeypatch.context() as patch:
        patch.setattr(recording, "append_text", full)
        assert record.add(Outcome(result("b")))  # its labels are there; the table may have room later
    assert "ENOSPC" in caplog.text
    record.close([], ended="now")
    assert read_cases(RecordFiles(tmp_path)).keys() == {"a", "b"}


def test_a_case_whose_objects_cannot_be_written_has_failed(tmp_path: Path) -> None:
    record = Record(RecordFiles(tmp_path), SETTINGS, {}, resume=False, objects=True)
    record.begin(keep=frozenset(), without=frozenset())
    record.files.objects.unlink()
    record.files.objects.mkdir()
    assert not record.add(Outcome(result("a"), [("a", 1)]))
    assert (record.results["a"].status, record.results["a"].code) == ("failed", "WRITE_FAILED")


def test_a_record_that_cannot_begin_stops_before_the_first_case(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").mkdir()
    with pytest.raises(InputError, match=r"cases\.csv"):
        begun(tmp_path)
