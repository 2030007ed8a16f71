"""The header of one DICOM file: by a quick walk over its elements where the file is plain, by pydicom where it is not.

Plain is nearly every slice of an export: a preamble, little endian, ascending tags, the value representations of the
standard. The walk keeps the few values that are needed and where the pixels lie, in a tenth of pydicom's time. At the
first thing that is not plain it gives up, and pydicom decides what the file is: the walk refuses nothing and mends
nothing.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from pipeline.io.dicom_split import SPLIT_TAGS

if TYPE_CHECKING:
    from pydicom import Dataset

    Header: TypeAlias = "PlainHeader | Dataset"  # both have `get` and `in`

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_COMPRESSED = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")  # JPEG and its like, RLE: their headers are explicit
_META_TAGS = ("MediaStorageSOPClassUID", "TransferSyntaxUID")
_TAGS = (
    "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "Modality", "NumberOfFrames", *SPLIT_TAGS,
    "Rows", "Columns", "PixelSpacing", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored",
    "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
)  # fmt: skip
_PREAMBLE = 128
_LONGEST = 512  # bytes of a value that is kept: a longer one is damaged
# Value representations by the length of their length: 2 bytes, and 4 after 2 that are reserved.
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_PIXEL_DATA, _FLOAT_PIXELS = 0x7FE00010, (0x7FE00008, 0x7FE00009)
_DELIMITERS, _ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFE0000, 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_META, _DATA = range(0x00020000, 0x00030000), range(0x00030000, _DELIMITERS)
_UNDEFINED = 0xFFFFFFFF
_HEAD, _LENGTH, _US, _FD = struct.Struct("<HH2sH"), struct.Struct("<L"), struct.Struct("<H"), struct.Struct("<d")
_NOT_PLAIN = (ValueError, struct.error, RecursionError)

_Element: TypeAlias = tuple[int, bytes, int]  # tag, value representation (empty: implicit), length in bytes


@dataclass(frozen=True, slots=True)
class PlainHeader:
    """What a plain file says of itself.

    values: keyword -> value as pydicom has it, except that numbers written as text stay text and empty ones are None.
    syntax: the transfer syntax. pixels: offset and length of the pixel data in the file, None where there are none.
    stamp: the file's size and time, as `stamp_of` gives them.
    """

    values: dict[str, Any]
    syntax: str
    pixels: tuple[int, int] | None
    stamp: tuple[int, int]

    def get(self, keyword: str, default: Any = None) -> Any:
        return self.values.get(keyword, default)

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.values


def read_header(file: BinaryIO) -> Header:
    """The header of an open file. Of a damaged one what `decode_errors` lists."""
    try:
        return _plain_header(file)
    except _NOT_PLAIN:
        import pydicom

        file.seek(0)
        return pydicom.dcmread(file, force=True, stop_before_pixels=True, specific_tags=list(_TAGS))


def stamp_of(file: BinaryIO) -> tuple[int, int]:
    """Size in bytes and time of the last change in ns: another stamp is another file."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


@cache
def _wanted() -> dict[int, tuple[str, bytes]]:
    """Tag -> keyword and value representation."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tags = {keyword: tag_for_keyword(keyword) for keyword in (*_META_TAGS, *_TAGS)}
    return {tag: (keyword, dictionary_VR(tag).encode()) for keyword, tag in tags.items() if tag is not None}


# What follows raises one of _NOT_PLAIN at the first thing that is not plain.


def _plain_header(file: BinaryIO) -> PlainHeader:
    file.seek(_PREAMBLE)
    if file.read(4) != b"DICM":
        raise ValueError("no preamble")
    tag, _, length = _next(file, explicit=True) or (0, b"", 0)
    if (tag, length) != (_META.start, 4):
        raise ValueError("the length of the first group is not told")
    meta = BytesIO(file.read(*_LENGTH.unpack(file.read(4))))
    values, _ = _collect(meta, _META, explicit=True)
    if meta.tell() != meta.getbuffer().nbytes:
        raise ValueError("the first group has another length")
    syntax = str(values.get("TransferSyntaxUID"))
    if syntax not in (IMPLICIT, EXPLICIT) and not syntax.startswith(_COMPRESSED):
        raise ValueError("another transfer syntax")
    found, pixels = _collect(file, _DATA, explicit=syntax != IMPLICIT)
    return PlainHeader(values | found, syntax, pixels, stamp_of(file))


def _collect(file: BinaryIO, tags: range, *, explicit: bool) -> tuple[dict[str, Any], tuple[int, int] | None]:
    """The values that are wanted, and offset and length of the pixel data, before which it stops.

    tags: those that may be there.
    """
    values: dict[str, Any] = {}
    wanted, last, end = _wanted(), tags.start - 1, tags.stop
    while (element := _next(file, explicit=explicit)) is not None:
        tag, vr, length = element
        if not last < tag < end:
            raise ValueError("not the next tag")
        last = tag
        if tag == _PIXEL_DATA:
            return values, (file.tell(), length)
        if tag in _FLOAT_PIXELS:
            break
        if tag not in wanted:
            _skip(file, element, explicit=explicit)
            continue
        keyword, usual = wanted[tag]
        if explicit and vr != usual:
            raise ValueError("another value representation")
        if usual == b"SQ":
            values[keyword] = True
            _skip(file, element, explicit=explicit)
        else:
            values[keyword] = _value(file, usual, length)
    return values, None


def _next(file: BinaryIO, *, explicit: bool) -> _Element | None:
    """The element that begins here, its value is next in the file; None at the end."""
    if not (head := file.read(8)):
        return None
    group, number, vr, short = _HEAD.unpack(head)
    tag = group << 16 | number
    if tag >= _DELIMITERS or not explicit:
        if vr in _SHORT or vr in _LONG:
            raise ValueError("explicit after all")
        return tag, b"", _LENGTH.unpack_from(head, 4)[0]
    if vr in _SHORT:
        return tag, vr, short
    if vr not in _LONG:
        raise ValueError("implicit after all")
    return tag, vr, _LENGTH.unpack(file.read(4))[0]


def _skip(file: BinaryIO, element: _Element, *, explicit: bool) -> None:
    """Go behind the value of `element`, of which no more than the header was read."""
    tag, vr, length = element
    if length != _UNDEFINED:
        file.seek(length, os.SEEK_CUR)
        return
    if vr not in (b"SQ", b""):
        raise ValueError("of unknown length, and no sequence")
    end = _ITEM_END if tag == _ITEM else _SEQUENCE_END
    while (inner := _next(file, explicit=explicit)) is not None:
        if inner[0] == end:
            return
        if (inner[0] == _ITEM) == (tag == _ITEM):  # items hold elements, sequences hold items
            raise ValueError("a sequence without items")
        _skip(file, inner, explicit=explicit)
    raise ValueError("a sequence without an end")


def _value(file: BinaryIO, vr: bytes, length: int) -> Any:
    if length > _LONGEST or len(raw := file.read(length)) < length:
        raise ValueError("too long")
    if vr in (b"US", b"FD"):
        (number,) = (_US if vr == b"US" else _FD).unpack(raw)
        return number
    text = raw.decode("latin-1").rstrip(" \0")
    words = text.split("\\")
    if vr == b"IS" and text and not all(word.strip().isdecimal() for word in words):
        raise ValueError("no whole numbers")
    return (words if len(words) > 1 else text) or None
