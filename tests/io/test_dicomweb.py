"""What series a PACS has: asked for exactly, page by page, and no result believed that was not asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.io.dicomweb import Series, Wanted, find_series, is_uid
from pipeline.io.web import ServerAway
from tests.io.dicomweb_server import SERIES, STUDY, Pacs, Reply, element, pacs, start

__all__ = ["pacs", "start"]

STACK = np.zeros((3, 2, 2), np.int16)


@pytest.fixture
def stored(pacs: Pacs, tmp_path: Path, write_series: Callable[..., list[Path]]) -> Pacs:
    """A series of three images of Jane Roe."""
    pacs.store(*write_series(tmp_path / "in", STACK, StudyInstanceUID=STUDY, PatientID="P-007", PatientName="Roe^Jane"))
    return pacs


def described(**values: str) -> dict:
    tags = {"study": "0020000D", "series": "0020000E", "modality": "00080060", "patient_id": "00100020"}
    return {tags[name]: element("UI", value) for name, value in values.items()}


def test_a_series_is_told_by_its_uids_and_the_number_of_its_images(stored: Pacs) -> None:
    assert find_series(stored.server, Wanted(modality="CT")) == [
        Series(study=STUDY, series=SERIES, modality="CT", images=3)
    ]


def test_what_is_wanted_is_what_the_server_is_asked_for(stored: Pacs) -> None:
    wanted = Wanted(patient_id="P*", accession="A7", study_date="20260101-", modality="CT", series=SERIES)
    find_series(stored.server, wanted)
    keys = {"00100020": "P*", "00080050": "A7", "00080020": "20260101-", "00080060": "CT", "0020000E": SERIES}
    assert keys.items() <= stored.queries[0].items()
    assert stored.asked[0] == "GET /dicom-web/series"


def test_a_study_is_asked_for_its_own_series(stored: Pacs) -> None:
    find_series(stored.server, Wanted(study=STUDY))
    assert stored.asked[0] == f"GET /dicom-web/studies/{STUDY}/series"


def test_nothing_found_is_no_error(pacs: Pacs) -> None:
    assert find_series(pacs.server, Wanted(modality="CT")) == []
    pacs.instead["series"] = [Reply(204)]
    assert find_series(pacs.server, Wanted(modality="CT")) == []


def test_a_server_that_gives_few_results_at_a_time_is_asked_until_there_are_no_more(pacs: Pacs, tmp_path, write_series):
    for k in range(5):
        pacs.store(*write_series(tmp_path / str(k), STACK[:1], StudyInstanceUID=STUDY, series=f"1.2.{k}"))
    pacs.page = 2
    assert [each.series for each in find_series(pacs.server, Wanted(modality="CT"))] == [f"1.2.{k}" for k in range(5)]
    assert [query["offset"] for query in pacs.queries] == ["0", "2", "4", "5"]


def test_a_server_that_passes_over_the_offset_is_not_asked_for_ever(pacs: Pacs) -> None:
    same = json.dumps([described(study=STUDY, series=SERIES, modality="CT")]).encode()
    pacs.instead["series"] = [Reply(body=same)] * 5
    assert len(find_series(pacs.server, Wanted(modality="CT"))) == 1
    assert len(pacs.asked) == 2


@pytest.mark.parametrize(
    "found",
    [
        described(study=STUDY, series="1.2.9", modality="MR"),
        described(study="1.2.9", series="1.2.9", modality="CT", patient_id="P-008"),
        described(study=STUDY, series="../../1", modality="CT", patient_id="P-007"),
        described(study="", series="1.2.9", modality="CT", patient_id="P-007"),
    ],
)
def test_a_result_that_was_not_asked_for_is_passed_over(stored: Pacs, found: dict, caplog) -> None:
    right = described(study=STUDY, series=SERIES, modality="CT", patient_id="p-007")
    stored.instead["series"] = [Reply(body=json.dumps([found, right]).encode())]
    with caplog.at_level(logging.WARNING):
        assert [each.series for each in find_series(stored.server, Wanted(patient_id="P-007", modality="CT"))] == [
            SERIES
        ]
    assert "1 series" in caplog.text and "P-00" not in caplog.text


@pytest.mark.parametrize("body", [b"<html>welcome, Roe</html>", b'{"0020000D": {}}', b"[1]", b"null", b"[{", b"\xff"])
def test_a_server_that_does_not_talk_dicomweb_is_told_so(pacs: Pacs, body: bytes) -> None:
    pacs.instead["series"] = [Reply(body=body, kind="text/html")]
    with pytest.raises(InputError, match=r"text/html where DICOM JSON is due.*dicom-web") as refusal:
        find_series(pacs.server, Wanted(modality="CT"))
    assert "Roe" not in str(refusal.value)


def test_a_list_that_breaks_off_is_the_servers_failure(pacs: Pacs) -> None:
    pacs.instead["series"] = [Reply(body=b"[", length=100)]
    with pytest.raises(ServerAway):
        find_series(pacs.server, Wanted(modality="CT"))


def test_the_whole_archive_is_never_meant() -> None:
    with pytest.raises(InputError, match="--patient-id, --accession, --study-date"):
        Wanted()


@pytest.mark.parametrize("date", ["2026-01-01", "today", "20260101-2026", "-", ""])
def test_a_date_is_written_as_dicom_writes_it(date: str) -> None:
    with pytest.raises(InputError, match="--study-date"):
        Wanted(study_date=date)


@pytest.mark.parametrize("date", ["20260101", "20260101-20260131", "20260101-", "-20260131"])
def test_a_range_of_dates_may_be_open(date: str) -> None:
    assert Wanted(study_date=date).study_date == date


@pytest.mark.parametrize(
    "uid", ["", ".", "..", "1..2", "1.2/../3", "1.2\n", "1.2.", "a", "1." + "2" * 64, "1.2%2f", "١.٢"]
)
def test_what_could_lead_elsewhere_is_no_uid(uid: str) -> None:
    assert not is_uid(uid)
    with pytest.raises(InputError, match="no UID"):
        Wanted(series=uid)


def test_uids_of_real_archives_are_uids() -> None:
    assert is_uid("1.2.840.113619.2.0055") and is_uid("2.25." + "9" * 39)
