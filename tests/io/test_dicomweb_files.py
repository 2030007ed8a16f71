"""A series comes whole, at once or in several goes, or is said not to have; a result is stored or said not to be."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import CaseError, InputError
from pipeline.io.dicomweb import Series
from pipeline.io.dicomweb_files import pull_series, push_file
from pipeline.io.web import ServerAway
from tests.io.dicomweb_server import MULTIPART, SERIES, STUDY, Pacs, Reply, element, items, multipart, pacs, start

__all__ = ["pacs", "start"]

ASKED = Series(study=STUDY, series=SERIES, modality="CT", images=3)
WADO = f"GET /dicom-web/{ASKED.path}"


@pytest.fixture
def files(tmp_path: Path, write_series: Callable[..., list[Path]]) -> list[Path]:
    stack = np.arange(3 * 40 * 50, dtype=np.int16).reshape(3, 40, 50)
    return write_series(tmp_path / "in", stack, StudyInstanceUID=STUDY, PatientName="Roe^Jane", PatientID="P-007")


@pytest.fixture
def stored(pacs: Pacs, files: list[Path]) -> Pacs:
    pacs.store(*files)
    return pacs


def there(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def whole(pacs: Pacs) -> dict[str, bytes]:
    return {f"{uid}.dcm": content for uid, content in pacs.files.items()}


def retrieved(pacs: Pacs) -> list[str]:
    """What was asked for by WADO, the series as ""."""
    return [each.removeprefix(WADO) for each in pacs.asked if each.startswith(WADO) and not each.endswith("/instances")]


def test_a_series_comes_byte_for_byte_in_one_answer_as_it_is_stored(stored: Pacs, tmp_path: Path) -> None:
    pull_series(stored.server, ASKED, tmp_path / "out")
    assert there(tmp_path / "out") == whole(stored)
    assert retrieved(stored) == [""]
    assert "transfer-syntax=*" in stored.headers[-1]["Accept"]


def test_a_series_that_is_here_is_not_asked_for_again(stored: Pacs, tmp_path: Path) -> None:
    for _ in range(2):
        pull_series(stored.server, ASKED, tmp_path / "out")
    assert retrieved(stored) == [""]


def test_what_an_interrupted_run_left_is_kept_and_the_rest_asked_for_one_by_one(stored: Pacs, tmp_path: Path) -> None:
    pull_series(stored.server, ASKED, tmp_path / "out")
    first, second, _ = sorted(stored.files)
    (tmp_path / "out" / f"{first}.dcm").unlink()
    (tmp_path / "out" / f"{second}.dcm").write_bytes(b"")  # a power cut
    (tmp_path / "out" / ".part-12345678.dcm").write_bytes(b"half")  # a kill
    pull_series(stored.server, ASKED, tmp_path / "out")
    assert there(tmp_path / "out") == whole(stored)
    assert retrieved(stored)[1:] == [f"/instances/{first}", f"/instances/{second}"]


def test_an_image_that_is_no_longer_in_the_series_goes(stored: Pacs, tmp_path: Path) -> None:
    pull_series(stored.server, ASKED, tmp_path / "out")
    stored.files.popitem()
    pull_series(stored.server, Series(study=STUDY, series=SERIES, images=2), tmp_path / "out")
    assert there(tmp_path / "out") == whole(stored)


@pytest.mark.parametrize("lost", [40, 1000, 7000])
def test_what_came_before_an_answer_broke_off_is_kept_and_no_half_image_is(stored: Pacs, tmp_path, lost: int) -> None:
    reply = multipart(*stored.files.values())
    stored.instead[SERIES] = [Reply(body=reply.body[:-lost], kind=MULTIPART, length=len(reply.body))]
    pull_series(stored.server, ASKED, tmp_path / "out")
    assert there(tmp_path / "out") == whole(stored)
    assert len(retrieved(stored)) == 1 + (1 if lost < 5000 else 2)


def test_an_answer_without_its_closing_boundary_is_not_trusted(stored: Pacs, tmp_path: Path) -> None:
    stored.instead[SERIES] = [multipart(*stored.files.values(), end=b"")]
    pull_series(stored.server, ASKED, tmp_path / "out")
    assert there(tmp_path / "out") == whole(stored)
    assert len(retrieved(stored)) == 2  # the last image may be cut


def test_a_server_that_leaves_images_out_is_asked_for_them(stored: Pacs, tmp_path: Path) -> None:
    stored.instead[SERIES] = [multipart(*list(stored.files.values())[:1])]
    pull_series(stored.server, ASKED, tmp_path / "out")
    assert there(tmp_path / "out") == whole(stored)


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_series_that_cannot_be_had_whole_is_refused_and_what_came_is_kept(stored: Pacs, tmp_path, status) -> None:
    uid, kept, *_ = sorted(stored.files)
    stored.instead[SERIES] = [multipart(stored.files[kept])]
    stored.instead[uid] = [Reply(status)] * 3
    with pytest.raises(CaseError, match=f"{status}") as refusal:
        pull_series(stored.server, ASKED, tmp_path / "out")
    assert refusal.value.code == "PULL_FAILED" and SERIES in refusal.value.message
    assert list(there(tmp_path / "out")) == [f"{kept}.dcm"]


def test_a_series_whose_number_of_images_is_contradicted_is_refused(stored: Pacs, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="counts 4 instances and lists 3"):
        pull_series(stored.server, Series(study=STUDY, series=SERIES, images=4), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_series_without_images_is_refused(pacs: Pacs, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="no instances"):
        pull_series(pacs.server, Series(study=STUDY, series=SERIES), tmp_path / "out")


def test_an_image_of_another_series_is_refused_and_not_kept(stored: Pacs, tmp_path, write_series) -> None:
    (other,) = write_series(tmp_path / "other", np.zeros((1, 2, 2), np.int16), PatientName="Doe^John")
    stored.instead[SERIES] = [multipart(other.read_bytes())]
    with pytest.raises(CaseError, match="no instance of it"):
        pull_series(stored.server, ASKED, tmp_path / "out")
    assert there(tmp_path / "out") == {}


@pytest.mark.parametrize("reply", [Reply(body=b"<html>", kind="text/html"), Reply(kind="multipart/related")])
def test_an_answer_that_is_no_envelope_of_files_is_refused(stored: Pacs, tmp_path: Path, reply: Reply) -> None:
    stored.instead[SERIES] = [reply]
    with pytest.raises(CaseError, match="not multipart/related"):
        pull_series(stored.server, ASKED, tmp_path / "out")


def test_what_is_no_dicom_is_refused_and_not_kept(stored: Pacs, tmp_path: Path) -> None:
    stored.instead[SERIES] = [multipart(b"<html>")]
    with pytest.raises(CaseError, match="no instance of it"):
        pull_series(stored.server, ASKED, tmp_path / "out")
    assert there(tmp_path / "out") == {}


def test_a_uid_that_leads_out_of_the_folder_is_refused(pacs: Pacs, tmp_path: Path) -> None:
    pacs.instead["instances"] = [Reply(body=json.dumps([{"00080018": element("UI", "../../evil")}]).encode())]
    with pytest.raises(CaseError, match="proper UID"):
        pull_series(pacs.server, Series(study=STUDY, series=SERIES), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_away_before_anything_was_asked_for_is_away(stored: Pacs, tmp_path: Path) -> None:
    stored.instead["instances"] = [Reply(503)] * 3
    with pytest.raises(ServerAway):
        pull_series(stored.server, ASKED, tmp_path / "out")


def test_a_full_disk_is_told_so(stored: Pacs, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(CaseError) as refusal:
        pull_series(stored.server, ASKED, tmp_path / "out" / "below")
    assert refusal.value.code == "WRITE_FAILED"


def test_a_file_is_stored_as_it_is(pacs: Pacs, files: list[Path]) -> None:
    push_file(pacs.server, files[0])
    assert list(pacs.files.values()) == [files[0].read_bytes()]


def failed(reason: int) -> bytes:
    return json.dumps({"00081198": items({"00081197": element("US", reason)})}).encode()


@pytest.mark.parametrize("status", [200, 202, 409])
def test_a_file_that_is_there_already_counts_as_stored(pacs: Pacs, files: list[Path], status: int) -> None:
    pacs.instead["studies"] = [Reply(status, failed(0x0111))]
    push_file(pacs.server, files[0])


def test_an_answer_in_xml_is_believed_by_its_status(pacs: Pacs, files: list[Path]) -> None:
    pacs.instead["studies"] = [
        Reply(200, b"<NativeDicomModel/>", "application/dicom+xml"),
        Reply(202, b"<a/>", "text/xml"),
    ]
    push_file(pacs.server, files[0])
    with pytest.raises(CaseError, match="not stored"):
        push_file(pacs.server, files[0])


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, failed(0x0110)),
        Reply(409, failed(0xA700)),
        Reply(409, b"<html>Roe^Jane</html>", "text/html"),
        Reply(200, b"<html>welcome</html>", "text/html"),
        Reply(200, b"{}"),
        Reply(200, json.dumps({"00081199": items({"00081155": element("UI", "1.2.3")})}).encode()),
        Reply(413),
        Reply(415),
    ],
)
def test_a_file_that_is_not_said_to_be_stored_is_not(pacs: Pacs, files: list[Path], reply: Reply) -> None:
    pacs.instead["studies"] = [reply]
    with pytest.raises(CaseError, match=r"slice_000\.dcm was not stored") as refusal:
        push_file(pacs.server, files[0])
    assert refusal.value.code == "PUSH_FAILED" and "Roe" not in refusal.value.message


def test_a_server_that_is_away_stores_nothing(pacs: Pacs, files: list[Path]) -> None:
    pacs.instead["studies"] = [Reply(503)] * 3
    with pytest.raises(CaseError, match="503") as refusal:
        push_file(pacs.server, files[0])
    assert refusal.value.code == "PUSH_FAILED"


def test_wrong_credentials_stop_everything(stored: Pacs, files: list[Path], tmp_path: Path) -> None:
    stored.instead = {"studies": [Reply(401)], SERIES: [Reply(401)]}
    for act in (
        lambda: push_file(stored.server, files[0]),
        lambda: pull_series(stored.server, ASKED, tmp_path / "out"),
    ):
        with pytest.raises(InputError, match="401"):
            act()


def test_what_is_no_dicom_file_is_not_sent(pacs: Pacs, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Roe")
    for name in ("notes.txt", "missing.dcm"):
        with pytest.raises(CaseError, match=name):
            push_file(pacs.server, tmp_path / name)
    assert pacs.asked == []


def test_nothing_of_the_patient_is_logged(stored: Pacs, files: list[Path], tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    stored.instead[SERIES] = [multipart(*stored.files.values(), end=b"")]
    pull_series(stored.server, ASKED, tmp_path / "out")
    push_file(stored.server, files[0])
    assert SERIES in caplog.text
    assert "Roe" not in caplog.text and "P-007" not in caplog.text
