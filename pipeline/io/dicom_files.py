"""What one DICOM file is, from its header alone: for discovery, which must not read pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
_TAGS = ["SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "Modality", "ImagePositionPatient", "NumberOfFrames"]


@dataclass(frozen=True)
class DicomFile:
    """The header of one file. `series` is empty when the file does not name one (some anonymisers delete it)."""

    series: str = ""
    sop_class: str = ""
    series_number: str = "0"
    is_picture: bool = False
    is_placed: bool = False  # it has a position in the patient

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
            series=str(header.get("SeriesInstanceUID") or ""),
            sop_class=sop_class_of(header),
            series_number=str(header.get("SeriesNumber") or 0),
            is_picture=is_picture(header),
            is_placed=bool(header.get("ImagePositionPatient")),
        )
    except DECODE_ERRORS:
        return DicomFile()  # reading it will say what is wrong


def is_picture(header: FileDataset) -> bool:
    """Whether the file is a picture: a modality of pictures, without a position in the patient."""
    return header.get("Modality", "OT") in (*PICTURE_MODALITIES, None, "") and not header.get("ImagePositionPatient")


def sop_class_of(header: FileDataset) -> str:
    """The SOP class UID or an empty text; the file's own header knows it where an anonymiser emptied the other."""
    return str(header.get("SOPClassUID") or "") or _media_class(header)


def _looks_like_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_PREAMBLE + 4)
    if start[_PREAMBLE:] == b"DICM":
        return True
    return path.suffix.lower() in ("", *DICOM_SUFFIXES) and start[:2] in _FIRST_GROUPS


def _media_class(header: FileDataset) -> str:
    return str(getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID") or "")
