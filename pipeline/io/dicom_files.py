"""What one DICOM file is, from its header alone: for discovery, which must not read pixels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.io.dicom_header import PlainHeader, read_header
from pipeline.io.dicom_split import Place, place_of, shared
from pipeline.io.refusals import decode_errors

if TYPE_CHECKING:
    from pipeline.io.dicom_header import Header

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
# Modalities of pictures without a place in the patient: each file is an image of its own, also within one series.
PICTURE_MODALITIES = frozenset(
    ("US", "IVUS", "XC", "SC", "OT", "DX", "CR", "MG", "IO", "PX", "ES", "GM", "OP", "OPT", "SM", "DMS", "RF", "XA")
)
DICOMDIR = "DICOMDIR"  # the file in which a medium lists the others
_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_PREAMBLE = 128
# Group 0002 or 0008 in either byte order: how a file without the preamble begins.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")
_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"  # no scan, but a label map: evaluated, and refused by name as a scan
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SCANNERS = frozenset(("CT", "MR", "PT", "NM"))
# Words of ImageType of images that are made for planning a scan, from it, or about it.
_NO_SCAN = {
    "localizer": ("LOCALIZER", "SCOUT"),
    "reformatted images": ("MPR", "REFORMATTED", "CPR", "CURVED"),
    "projections or renderings": ("PROJECTION", "MIP", "MAXIP", "MINIP", "VRT", "SSD", "VOLREN", "RENDERING"),
    "screen save": ("SCREENSAVE", "SCREENSHOT"),
    "dose report": ("DOSEINFO", "DOSEREPORT"),
}


@dataclass(frozen=True, slots=True)
class DicomFile:
    """The header of one file. `series` is empty when the file does not name one (some anonymisers delete it)."""

    series: str = ""
    study: str = ""
    sop_class: str = ""
    series_number: str = "0"
    is_picture: bool = False
    is_placed: bool = False  # it has a position in the patient
    modality: str = ""
    place: Place | None = None
    no_scan: str = ""  # why it is no scan although there may be pixels in it: a localizer, a report; else empty
    is_derived: bool = False  # its ImageType says so

    @property
    def is_slice(self) -> bool:
        """Whether it may belong together with other files; False for pictures and for what is not understood."""
        return not self.is_picture and (bool(self.series) or self.is_placed)


def scan_file(path: Path) -> DicomFile | None:
    """The header of `path`, None if it is not DICOM or is a DICOMDIR. OSError if it cannot be opened."""
    with path.open("rb") as file:
        if not _looks_like_dicom(file.read(_PREAMBLE + 4), path) or path.name.upper() == DICOMDIR:
            return None
        try:
            header = read_header(file)
            return None if _media_class(header) == _MEDIA_DIRECTORY else _described(header)
        except decode_errors():
            return DicomFile()  # reading it will say what is wrong


def _described(header: Header) -> DicomFile:
    sop_class, modality, image_type = sop_class_of(header), str(header.get("Modality") or ""), _image_type(header)
    is_placed = bool(header.get("ImagePositionPatient"))
    return DicomFile(
        series=shared(str(header.get("SeriesInstanceUID") or "")),
        study=shared(str(header.get("StudyInstanceUID") or "")),
        sop_class=shared(sop_class),
        series_number=shared(str(header.get("SeriesNumber") or 0)),
        is_picture=is_picture(header),
        is_placed=is_placed,
        modality=shared(modality),
        place=place_of(header),
        no_scan=_no_scan(sop_class, modality, image_type, is_placed),
        is_derived="DERIVED" in image_type[:1] and sop_class != _SEGMENTATION,
    )


def is_picture(header: Header) -> bool:
    """Whether the file is a picture: a modality of pictures, without a position in the patient."""
    return header.get("Modality") in (*PICTURE_MODALITIES, None, "") and not header.get("ImagePositionPatient")


def sop_class_of(header: Header) -> str:
    """The SOP class UID or an empty text; the file's own header knows it where an anonymiser emptied the other."""
    return str(header.get("SOPClassUID") or "") or _media_class(header)


@lru_cache(maxsize=1024)  # the slices of a series say the same
def _no_scan(sop_class: str, modality: str, image_type: tuple[str, ...], is_placed: bool) -> str:
    """What the file is instead of a scan, by its class and its ImageType; empty for a scan and for the unknown.

    DERIVED alone is no reason: scans that were anonymised, resampled or denoised are called so.
    """
    from pydicom.uid import UID

    known = str(UID(sop_class).name)  # the UID itself where it is not known
    if known != sop_class and "Image Storage" not in known and sop_class != _SEGMENTATION:
        return known.removesuffix(" Storage")
    words = {word for value in image_type for word in (*re.split("[^A-Z]+", value), re.sub("[^A-Z]", "", value))}
    for what, marks in _NO_SCAN.items():
        if words.intersection(marks):
            return what
    captured = sop_class.startswith(_SECONDARY_CAPTURE) and modality in _SCANNERS
    return "screen save" if captured and not is_placed else ""


def _image_type(header: Header) -> tuple[str, ...]:
    value = header.get("ImageType") or ()
    return tuple(str(each).upper().strip() for each in ([value] if isinstance(value, str) else value))


def _looks_like_dicom(start: bytes, path: Path) -> bool:
    """start: the first bytes of the file, the preamble and the four after it."""
    if start[_PREAMBLE:] == b"DICM":
        return True
    return path.suffix.lower() in ("", *DICOM_SUFFIXES) and start[:2] in _FIRST_GROUPS


def _media_class(header: Header) -> str:
    meta = header if isinstance(header, PlainHeader) else getattr(header, "file_meta", {})
    return str(meta.get("MediaStorageSOPClassUID") or "")
