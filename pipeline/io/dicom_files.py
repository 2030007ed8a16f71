"""What one DICOM file is, from its header alone: for discovery, which must not read pixels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.io.dicom_split import SPLIT_TAGS, Place, place_of, shared
from pipeline.io.refusals import DECODE_ERRORS

if TYPE_CHECKING:
    from pydicom import FileDataset

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
# Modalities of pictures without a place in the patient: each file is an image of its own, also within one series.
PICTURE_MODALITIES = frozenset(
    ("US", "IVUS", "XC", "SC", "OT", "DX", "CR", "MG", "IO", "PX", "ES", "GM", "OP", "OPT", "SM", "DMS", "RF", "XA")
)
_DICOMDIR = "1.2.840.10008.1.3.10"
_PREAMBLE = 128
# Group 0002 or 0008 in either byte order: how a file without the preamble begins.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")
_TAGS = [
    "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "Modality", "NumberOfFrames", *SPLIT_TAGS,
]  # fmt: skip
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
    if not _looks_like_dicom(path) or path.name.upper() == "DICOMDIR":
        return None
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=_TAGS)
        if _media_class(header) == _DICOMDIR:
            return None
        return DicomFile(
            series=shared(str(header.get("SeriesInstanceUID") or "")),
            study=shared(str(header.get("StudyInstanceUID") or "")),
            sop_class=shared(sop_class_of(header)),
            series_number=shared(str(header.get("SeriesNumber") or 0)),
            is_picture=is_picture(header),
            is_placed=bool(header.get("ImagePositionPatient")),
            modality=shared(str(header.get("Modality") or "")),
            place=place_of(header),
            no_scan=_no_scan(header),
            is_derived="DERIVED" in _image_type(header)[:1] and sop_class_of(header) != _SEGMENTATION,
        )
    except DECODE_ERRORS:
        return DicomFile()  # reading it will say what is wrong


def is_picture(header: FileDataset) -> bool:
    """Whether the file is a picture: a modality of pictures, without a position in the patient."""
    return header.get("Modality", "OT") in (*PICTURE_MODALITIES, None, "") and not header.get("ImagePositionPatient")


def sop_class_of(header: FileDataset) -> str:
    """The SOP class UID or an empty text; the file's own header knows it where an anonymiser emptied the other."""
    return str(header.get("SOPClassUID") or "") or _media_class(header)


def _no_scan(header: FileDataset) -> str:
    """What the file is instead of a scan, by its class and its ImageType; empty for a scan and for the unknown.

    DERIVED alone is no reason: scans that were anonymised, resampled or denoised are called so.
    """
    from pydicom.uid import UID

    sop_class = UID(sop_class_of(header))
    known = str(sop_class.name)  # the UID itself where it is not known
    if known != sop_class and "Image Storage" not in known and sop_class != _SEGMENTATION:
        return known.removesuffix(" Storage")
    words = {
        word for value in _image_type(header) for word in (*re.split("[^A-Z]+", value), re.sub("[^A-Z]", "", value))
    }
    for what, marks in _NO_SCAN.items():
        if words.intersection(marks):
            return what
    captured = sop_class.startswith(_SECONDARY_CAPTURE) and header.get("Modality") in _SCANNERS
    return "screen save" if captured and not header.get("ImagePositionPatient") else ""


def _image_type(header: FileDataset) -> list[str]:
    value = header.get("ImageType") or ()
    return [value.upper().strip()] if isinstance(value, str) else [str(each).upper().strip() for each in value]


def _looks_like_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_PREAMBLE + 4)
    if start[_PREAMBLE:] == b"DICM":
        return True
    return path.suffix.lower() in ("", *DICOM_SUFFIXES) and start[:2] in _FIRST_GROUPS


def _media_class(header: FileDataset) -> str:
    return str(getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID") or "")
