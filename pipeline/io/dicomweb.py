"""What evoseg asks of a PACS by DICOMweb: which series it has (QIDO), their files (WADO), and to take results (STOW).

Nothing of the patient is logged or put into a message or a file's name: UIDs tell what is meant.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pipeline.errors import CaseError, InputError
from pipeline.io.multipart import as_multipart, read_parts
from pipeline.io.refusals import DECODE_ERRORS
from pipeline.io.web import Answer, Refused, Server, ServerAway
from pipeline.io.whole_file import whole_file

logger = logging.getLogger(__name__)

_JSON = "application/dicom+json"
# As they are stored: a server would else unpack compressed images, or fail to.
_FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PAGE = 1000  # of results
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64
_DATE = re.compile(r"\d{8}(-(\d{8})?)?|-\d{8}")
_DUPLICATE = 0x0111  # the failure of a store that finds the very object there
_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_FAILED, _REASON = "00081198", "00081197"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a series must match; None: anything. DICOM's wildcards * and ? are understood in the first two.

    study_date: YYYYMMDD, or a range: A-B, A-, -B.
    """

    patient_id: str | None = None
    accession: str | None = None
    study_date: str | None = None
    modality: str | None = None
    study: str | None = None
    series: str | None = None

    def __post_init__(self) -> None:
        """InputError: a date or a UID that is none; nothing at all, which would be the whole archive."""
        if all(getattr(self, field.name) is None for field in fields(self)):
            flags = ", ".join(f"--{field.name.replace('_', '-')}" for field in fields(self))
            raise InputError(f"all series of the archive would be meant: give at least one of {flags}")
        if self.study_date is not None and not _DATE.fullmatch(self.study_date):
            raise InputError(
                f"--study-date {self.study_date}: give YYYYMMDD, or a range as 20260101-20260131 or 20260101-"
            )
        for uid in (self.study, self.series):
            if uid is not None and not is_uid(uid):
                raise InputError(f"{uid!r} is no UID: digits and dots, at most {_LONGEST_UID} characters")

    def query(self) -> list[tuple[str, str]]:
        given = {
            "PatientID": self.patient_id,
            "AccessionNumber": self.accession,
            "StudyDate": self.study_date,
            "Modality": self.modality,
            "SeriesInstanceUID": self.series,
        }
        return [(name, value) for name, value in given.items() if value is not None]


@dataclass(frozen=True, kw_only=True)
class Series:
    """A series of the archive. images: how many instances it has, None where the server does not tell."""

    study: str
    series: str
    modality: str = ""
    images: int | None = None
    study_date: str = ""
    number: str = ""
    description: str = ""

    @property
    def path(self) -> str:
        return f"studies/{self.study}/series/{self.series}"


def is_uid(text: str) -> bool:
    """Whether it may be part of a path: real archives break the rule on leading zeros, never that on characters."""
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None


def find_series(server: Server, wanted: Wanted) -> list[Series]:
    """The series that match, by date of study and UID. InputError, also for what is no DICOMweb server; ServerAway."""
    where = f"studies/{wanted.study}/series" if wanted.study else "series"
    asked = ["StudyDate", "StudyInstanceUID", "SeriesDescription", "NumberOfSeriesRelatedInstances"]
    found = {}
    for item in _search(server, where, wanted.query(), asked):
        study, series = _value(item, _STUDY) or wanted.study or "", _value(item, _SERIES)
        images, modality = _value(item, "00201209"), _value(item, "00080060")
        if not (is_uid(study) and is_uid(series)):
            logger.warning("a series without a proper UID was passed over")
        elif wanted.modality in (None, modality):  # a server may pass over a key that it does not know
            found[series] = Series(
                study=study,
                series=series,
                modality=modality,
                images=int(images) if images.isdecimal() else None,
                study_date=_value(item, "00080020"),
                number=_value(item, "00200011"),
                description=_value(item, "0008103E"),
            )
    return sorted(found.values(), key=lambda each: (each.study_date, each.study, each.series))


def pull_series(server: Server, series: Series, folder: Path) -> None:
    """Make `folder` hold exactly the files of the series, <SOPInstanceUID>.dcm, each whole; those there are kept.

    Bytes go to the disk as they come, so memory does not grow. CaseError: PULL_FAILED: the server cannot give all of
    them; WRITE_FAILED. ServerAway: what came is kept, call again.
    """
    expected = _instances(server, series)
    if series.images not in (None, len(expected)):
        raise _not_whole(series, f"the server counts {series.images} instances and lists {len(expected)}")
    for path in folder.glob("*.dcm"):
        if path.stem not in expected or _sop_instance(path) != path.stem:  # taken away in the archive, or not ours
            path.unlink()
    try:
        if expected and not _missing(expected, folder):
            return
        if len(_missing(expected, folder)) == len(expected):
            _retrieve(server, series, series.path, expected, folder)
    except ServerAway as error:
        logger.info("%s; what did not come is asked for one by one", error)
    for instance in sorted(_missing(expected, folder)):
        _retrieve(server, series, f"{series.path}/instances/{instance}", expected, folder)
    if missing := _missing(expected, folder):
        raise _not_whole(series, f"{len(missing)} of {len(expected)} instances did not come")
    if not expected:
        raise _not_whole(series, "it has no instances")


def push_file(server: Server, path: Path) -> None:
    """Store a DICOM file; one that is there already counts as stored.

    CaseError: PUSH_FAILED: the server does not take it; UNREADABLE. InputError, ServerAway: of the server.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CaseError("UNREADABLE", f"{path} cannot be read ({error.strerror}): give a DICOM file") from error
    if not _sop_instance(path):
        raise CaseError("UNREADABLE", f"{path} is no DICOM object: give a DICOM file")
    boundary = hashlib.sha256(content).hexdigest()  # a text cannot hold its own hash
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    body = as_multipart(content, "application/dicom", boundary)
    try:
        with server.open("studies", accept=_JSON, body=body, content_type=kind, also=(409,)) as answer:
            status, said = answer.status, _json_or_none(answer)
    except Refused as error:
        raise CaseError("PUSH_FAILED", f"{path.name} was not stored: {error}") from error
    reasons = [int(_value(item, _REASON) or 0) for item in _items(said, _FAILED)]
    if [reason for reason in reasons if reason != _DUPLICATE] or (status != 200 and not reasons and said is None):
        told = ", ".join(f"0x{reason:04X}" for reason in reasons) or f"status {status}"
        raise CaseError("PUSH_FAILED", f"{path.name} was not stored: the server refuses it ({told}); see its log")
    logger.info("%s: %s", path.name, "was there already" if reasons else "stored")


def _search(
    server: Server, path: str, query: Sequence[tuple[str, str]], fields: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """All results, page by page until one brings nothing new: a server may give fewer than it is asked for."""
    asked = [*query, *(("includefield", each) for each in fields)]
    seen: set[str] = set()
    while True:
        page = [("limit", str(_PAGE)), ("offset", str(len(seen)))]
        with server.open(path, query=[*asked, *page], accept=_JSON) as answer:
            found = [] if answer.status == 204 else _results(answer)
        new = [item for item in found if _identity(item) not in seen]
        yield from new
        seen.update(map(_identity, new))
        if not new:
            return


def _identity(item: dict[str, Any]) -> str:
    return f"{_value(item, _STUDY)} {_value(item, _SERIES)} {_value(item, _INSTANCE)}"


def _results(answer: Answer) -> list[dict[str, Any]]:
    content = _json_or_none(answer)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        kind = answer.headers.get_content_type()
        message = f"{answer.where} answers with {kind} where DICOM JSON is due"
        raise InputError(f"{message}: give the address of DICOMweb, which at Orthanc ends in /dicom-web")
    return content


def _json_or_none(answer: Answer) -> Any:
    try:
        return json.loads(answer.read())
    except ValueError:
        return None


def _value(item: dict[str, Any], tag: str) -> str:
    """The first value as text, empty where there is none."""
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]) if isinstance(values, list) and values and not isinstance(values[0], dict) else ""


def _items(content: Any, tag: str) -> list[dict[str, Any]]:
    """The items of a sequence, in the object or in the only one of a list."""
    if isinstance(content, list) and content:
        content = content[0]
    element = content.get(tag) if isinstance(content, dict) else None
    return [item for item in element.get("Value") or [] if isinstance(item, dict)] if isinstance(element, dict) else []


def _instances(server: Server, series: Series) -> set[str]:
    try:
        found = {_value(item, _INSTANCE) for item in _search(server, f"{series.path}/instances", [], [])}
    except Refused as error:
        raise _not_whole(series, str(error)) from error
    if not all(map(is_uid, found)):
        raise _not_whole(series, "an instance has no proper UID")
    return found


def _retrieve(server: Server, series: Series, path: str, expected: set[str], folder: Path) -> None:
    """Save the files that come from `path` under their own UIDs."""
    try:
        with server.open(path, accept=_FILES) as answer:
            boundary = answer.headers.get_boundary()
            if answer.headers.get_content_maintype() != "multipart" or not boundary:
                raise _not_whole(series, f"the server sends {answer.headers.get_content_type()}, not multipart/related")
            for part in read_parts(answer.read, boundary):
                _save(part, series, expected, folder)
    except Refused as error:
        raise _not_whole(series, str(error)) from error
    except ValueError as error:
        if isinstance(error, CaseError | InputError):
            raise
        raise ServerAway(f"{server.url}/{path} broke off: {error}") from error


def _save(part: Iterator[bytes], series: Series, expected: set[str], folder: Path) -> None:
    """A file under the UID that stands in it, which is known only when it is there."""
    arriving = folder / f".part-{secrets.token_hex(4)}.dcm"
    try:
        with whole_file(arriving) as spool, spool.open("wb") as file:
            for piece in part:
                file.write(piece)
        instance = _sop_instance(arriving)
        if instance not in expected:
            raise _not_whole(series, "the server sends what is no instance of it")
        with whole_file(folder / f"{instance}.dcm") as final:
            os.replace(arriving, final)
    finally:
        arriving.unlink(missing_ok=True)


def _sop_instance(path: Path) -> str:
    """The UID of the object in a file; empty where there is none to read."""
    import pydicom

    try:
        return str(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
    except DECODE_ERRORS:
        return ""


def _missing(expected: set[str], folder: Path) -> set[str]:
    return expected - {path.stem for path in folder.glob("*.dcm")}


def _not_whole(series: Series, why: str) -> CaseError:
    return CaseError("PULL_FAILED", f"series {series.series} cannot be had whole: {why}; try again when it is complete")
