"""Files from and to a PACS by DICOMweb: a series to a folder (WADO-RS), a result into the archive (STOW-RS)."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import CaseError
from pipeline.io.dicomweb import INSTANCE_UID, JSON, Series, is_uid, items_of, json_of, search, value_of
from pipeline.io.multipart import BadMultipart, as_multipart, read_parts
from pipeline.io.refusals import decode_errors
from pipeline.io.web import Refused, Server, ServerAway
from pipeline.io.whole_file import whole_file

logger = logging.getLogger(__name__)

# As they are stored: a server would else unpack compressed images, or fail to.
_FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_STORED, _STORED_UID, _FAILED, _REASON = "00081199", "00081155", "00081198", "00081197"
_DUPLICATE = str(0x0111)  # the failure of a store that finds the very object there


def pull_series(server: Server, series: Series, folder: Path) -> None:
    """Make `folder` hold exactly the files of the series, <SOPInstanceUID>.dcm, each whole; those there are kept.

    Bytes go to the disk as they come, so memory does not grow. CaseError: PULL_FAILED: the server does not give all of
    them, those that came are kept; WRITE_FAILED. InputError, ServerAway: of the server, before anything was asked for.
    """
    expected = _instances(server, series)
    if series.images not in (None, len(expected)):
        raise _not_whole(series, f"the server counts {series.images} instances and lists {len(expected)}")
    if not expected:
        raise _not_whole(series, "it has no instances")
    _tidy(folder, expected)
    if _missing(expected, folder) == expected:
        try:
            _retrieve(server, series, series.path, expected, folder)
        except ServerAway as error:
            logger.info("%s; what did not come is asked for one by one", error)
    for instance in sorted(_missing(expected, folder)):
        try:
            _retrieve(server, series, f"{series.path}/instances/{instance}", expected, folder)
        except ServerAway as error:  # a server may be away to this one alone: the caller has others to go on with
            raise _not_whole(series, str(error)) from error
    if missing := _missing(expected, folder):
        raise _not_whole(series, f"{len(missing)} of {len(expected)} instances did not come")


def push_file(server: Server, path: Path) -> None:
    """Store a DICOM file; one that is there already counts as stored.

    CaseError: PUSH_FAILED: the server does not take it; UNREADABLE. InputError: it does not let us in.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CaseError("UNREADABLE", f"{path} cannot be read ({error.strerror}): give a DICOM file") from error
    instance = _sop_instance(path)
    if not instance:
        raise CaseError("UNREADABLE", f"{path} is no DICOM object: give a DICOM file")
    boundary = hashlib.sha256(content).hexdigest()  # a text cannot hold its own hash
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    body = as_multipart(content, "application/dicom", boundary)
    try:
        with server.open("studies", accept=JSON, body=body, content_type=kind, also=(409,)) as answer:
            said, by_xml = json_of(answer), answer.headers.get_content_subtype().endswith("xml")
            stored = by_xml and answer.status == 200  # which says that all is stored
    except (Refused, ServerAway) as error:
        raise CaseError("PUSH_FAILED", f"{path.name} was not stored: {error}") from error
    stored = stored or instance in (value_of(item, _STORED_UID) for item in items_of(said, _STORED))
    reasons = [value_of(item, _REASON) for item in items_of(said, _FAILED)]
    if not stored and reasons != [_DUPLICATE]:
        told = f"for reason {', '.join(reasons)} of DICOM" if reasons else "and does not say so as DICOMweb does"
        raise CaseError(
            "PUSH_FAILED", f"{path.name} was not stored: the server refuses it, {told}; see the server's log"
        )
    logger.info("%s: %s", path.name, "stored" if stored else "was there already")


def _instances(server: Server, series: Series) -> set[str]:
    try:
        found = {value_of(item, INSTANCE_UID) for item in search(server, f"{series.path}/instances", [], [])}
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
    except BadMultipart as error:
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


def _tidy(folder: Path, expected: set[str]) -> None:
    """Make the folder, without what a killed run left half, and what is no longer in the series."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.dcm"):
            if path.stem not in expected or _sop_instance(path) != path.stem:
                path.unlink()
    except OSError as error:
        message = f"{folder} cannot be written to ({error.strerror}): check its permissions, or choose another folder"
        raise CaseError("WRITE_FAILED", message) from error


def _sop_instance(path: Path) -> str:
    """The UID of the object in a file; empty where there is none to read."""
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"], force=True)
        return str(header.get("SOPInstanceUID", ""))
    except decode_errors():
        return ""


def _missing(expected: set[str], folder: Path) -> set[str]:
    return expected - {path.stem for path in folder.glob("*.dcm")}


def _not_whole(series: Series, why: str) -> CaseError:
    return CaseError("PULL_FAILED", f"series {series.series} cannot be had whole: {why}; try again when it is complete")
