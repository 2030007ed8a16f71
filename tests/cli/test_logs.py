"""Where messages go, and what happens when they cannot."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pydicom
import pytest
from rich.console import Console

from pipeline.cli.logs import messages

FULL_DISK = Path("/dev/full")


@pytest.mark.skipif(not FULL_DISK.exists(), reason="only Linux has a file on a full disk")
def test_a_log_file_on_a_full_disk_is_told_once_and_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    shown = io.StringIO()
    with messages(Console(file=shown), log_file=FULL_DISK):
        for word in ("first", "second"):
            logging.getLogger("pipeline").info(word)
    lines = shown.getvalue().splitlines()
    assert set(lines) == {"first", "second", "--log-file /dev/full cannot be written to any more"}
    assert len(lines) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_a_log_file_tells_of_a_name_that_is_no_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with messages(Console(file=io.StringIO()), log_file=tmp_path / "log.txt"):
        logging.getLogger("pipeline").info("J\udcfcrgen")
    assert r"J\udcfcrgen" in (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert capsys.readouterr().err == ""


def test_what_pydicom_finds_odd_in_a_header_is_told_nobody(caplog, recwarn) -> None:
    with messages(Console(file=io.StringIO())):
        pydicom.Dataset().PatientBirthDate = "31.12.1950"
    assert not logging.getLogger("pydicom").disabled
    assert not caplog.messages and not recwarn.list
