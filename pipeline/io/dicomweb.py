"""What a PACS has, asked by DICOMweb (QIDO-RS): its series.

Nothing of the patient is logged or put into a message or a file's name: UIDs tell what is meant.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pipeline.errors import InputError
from pipeline.io.web import Answer, Server

logger = logging.getLogger(__name__)

JSON = "application/dicom+json"
INSTANCE_UID = "00080018"
_STUDY_UID, _SERIES_UID, _MODALITY, _STUDY_DATE = "0020000D", "0020000E", "00080060", "00080020"
_PATIENT_ID, _ACCESSION, _NUMBER, _DESCRIPTION, _IMAGES = "00100020", "00080050", "00200011", "0008103E", "00201209"
_PAGE = 1000  # results that are asked for at a time
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64
_DATE = re.compile(r"\d{8}(-(\d{8})?)?|-\d{8}")


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

    def keys(self) -> dict[str, str]:
        """Tag -> what its value must match."""
        tags = (_PATIENT_ID, _ACCESSION, _STUDY_DATE, _MODALITY, _STUDY_UID, _SERIES_UID)
        given = zip(tags, (getattr(self, field.name) for field in fields(self)), strict=True)
        return {tag: value for tag, value in given if value is not None}

    def allows(self, item: dict[str, Any]) -> bool:
        """Whether a result is none of another patient or order: a server may pass over a key that it does not know."""
        return all(
            value_of(item, tag).casefold() in ("", value.casefold())
            for tag, value in self.keys().items()
            if not set(value) & set("*?-" if tag == _STUDY_DATE else "*?")
        )


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
    asked = (_STUDY_UID, _STUDY_DATE, _PATIENT_ID, _ACCESSION, _DESCRIPTION, _IMAGES)
    found, passed = {}, 0
    keys = [(tag, value) for tag, value in wanted.keys().items() if tag != _STUDY_UID]
    for item in search(server, where, keys, asked):
        series = _series(item, wanted)
        if is_uid(series.study) and is_uid(series.series) and wanted.allows(item):
            found[series.series] = series
        else:
            passed += 1
    if passed:
        logger.warning("%d series without a proper UID, or that were not asked for, are passed over", passed)
    return sorted(found.values(), key=lambda each: (each.study_date, each.study, each.series))


def _series(item: dict[str, Any], wanted: Wanted) -> Series:
    images = value_of(item, _IMAGES)
    return Series(
        study=value_of(item, _STUDY_UID) or wanted.study or "",
        series=value_of(item, _SERIES_UID),
        modality=value_of(item, _MODALITY),
        images=int(images) if images.isdecimal() else None,
        study_date=value_of(item, _STUDY_DATE),
        number=value_of(item, _NUMBER),
        description=value_of(item, _DESCRIPTION),
    )


def search(
    server: Server, path: str, query: Sequence[tuple[str, str]], fields: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """All results, page by page until one brings nothing new: a server may give fewer than it is asked for."""
    asked = [*query, *(("includefield", each) for each in fields)]
    seen: set[str] = set()
    while True:
        page = [("limit", str(_PAGE)), ("offset", str(len(seen)))]
        with server.open(path, query=[*asked, *page], accept=JSON) as answer:
            found = [] if answer.status == 204 else _results(answer)
        new = [item for item in found if _identity(item) not in seen]
        yield from new
        seen.update(map(_identity, new))
        if not new:
            return


def _identity(item: dict[str, Any]) -> str:
    return f"{value_of(item, _STUDY_UID)} {value_of(item, _SERIES_UID)} {value_of(item, INSTANCE_UID)}"


def _results(answer: Answer) -> list[dict[str, Any]]:
    content = json_of(answer)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        kind = answer.headers.get_content_type()
        message = f"{answer.where} answers with {kind} where DICOM JSON is due"
        raise InputError(f"{message}: give the address of DICOMweb, which at Orthanc ends in /dicom-web")
    return content


def json_of(answer: Answer) -> Any:
    """The content of a JSON answer; None of another one. ServerAway."""
    content = answer.read()
    try:
        return json.loads(content)
    except ValueError:
        return None


def value_of(item: dict[str, Any], tag: str) -> str:
    """The first value as text, empty where there is none."""
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]) if isinstance(values, list) and values and not isinstance(values[0], dict) else ""


def items_of(content: Any, tag: str) -> list[dict[str, Any]]:
    """The items of a sequence, in the object or in the only one of a list."""
    if isinstance(content, list) and content:
        content = content[0]
    element = content.get(tag) if isinstance(content, dict) else None
    return [item for item in element.get("Value") or [] if isinstance(item, dict)] if isinstance(element, dict) else []
