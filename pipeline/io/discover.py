"""From files and folders to cases: what there is to segment, each named once, each choice reported."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import CaseError, InputError
from pipeline.io.case_ids import safe_path, unique_ids
from pipeline.io.dicom_files import DICOM_SUFFIXES, DicomFile, scan_file
from pipeline.io.volume import Volume
from pipeline.io.walk import Entry, walk

logger = logging.getLogger(__name__)

Kind = Literal["dicom", "nifti", "metaimage", "image", "dicom_image", "unreadable"]

_SUFFIXES: dict[str, Kind] = {
    ".nii.gz": "nifti", ".nii": "nifti",
    ".mha": "metaimage", ".mhd": "metaimage", ".nrrd": "metaimage", ".nhdr": "metaimage",
    ".png": "image", ".jpg": "image", ".jpeg": "image", ".tif": "image", ".tiff": "image", ".bmp": "image",
    **dict.fromkeys(DICOM_SUFFIXES, "dicom"),
}  # fmt: skip
IMAGE_SUFFIXES = tuple(_SUFFIXES)
_LOOKED_FOR = "DICOM, NIfTI (.nii, .nii.gz), MHA, NRRD, PNG, JPEG, TIFF and BMP"

_Folder = tuple[Path, tuple[str, ...]]  # a base, and the parts of a folder below it


@dataclass(frozen=True)
class Case:
    """One thing to segment.

    id: its name, a relative path with "/" that is safe to write under, unique in its list also without regard to case.
    kind: the reader; "dicom_image" is one DICOM picture, "unreadable" a folder that could not be listed.
    files: the file, or the files of one DICOM series.
    notes: the choices that discovery made.
    """

    id: str
    kind: Kind
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_picture(self) -> bool:
        """Whether it is two-dimensional, as far as the headers tell: its labels are a .png."""
        return self.kind in ("image", "dicom_image")


@dataclass(frozen=True)
class _Found:
    """A case before its name is settled: `names` from the shortest to the fullest."""

    kind: Kind
    files: tuple[Path, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    series: str = ""


def find_cases(roots: Path | Sequence[Path], *, series: str | None = None) -> list[Case]:
    """All cases under `roots` (files and folders, mixed), sorted by id.

    DICOM files are told by their content and grouped by series wherever they lie; pictures (ultrasound, X-ray,
    photographs) are one case a file. What looks like an image and cannot be read is a case that `read_case` refuses.
    series: only this SeriesInstanceUID.
    InputError: a root does not exist, nothing was found, or not this series.
    """
    roots = [Path(roots)] if isinstance(roots, str | os.PathLike) else [Path(root) for root in roots]
    found: list[_Found] = []
    scanned: list[tuple[Entry, DicomFile]] = []
    others: Counter[str] = Counter()
    for entry in walk(roots):
        suffix, kind = _kind_of(entry.path.name)
        if entry.error:
            found.append(_Found("unreadable", (entry.path,), _names(entry, ""), (f"not listed: {entry.error}",)))
        elif kind not in (None, "dicom"):
            found.append(_Found(kind, (entry.path,), _names(entry, suffix)))
        elif (header := _scan(entry.path)) is not None:
            scanned.append((entry, header))
        elif kind == "dicom" and not entry.path.name.upper().startswith("DICOMDIR"):
            found.append(_Found("dicom", (entry.path,), _names(entry, suffix)))
        else:
            others[entry.path.suffix.lower() or "no suffix"] += 1
    found += _dicom_cases(scanned)
    if series is not None:
        found = _only_series(found, series)
    _report(found, others, roots)
    found.sort(key=lambda case: (case.names[0], str(case.files[0])))
    ids = unique_ids([case.names for case in found])
    cases = [Case(i, case.kind, case.files, case.notes) for i, case in zip(ids, found, strict=True)]
    return sorted(cases, key=lambda case: case.id)


def read_case(case: Case) -> Volume:
    """The scan of `case` on its own grid. CaseError with a code for all that is no scan or cannot be trusted."""
    if case.kind in ("dicom", "dicom_image"):
        from pipeline.io.dicom_series import read_series

        return read_series(case.files)
    if case.kind == "nifti":
        from pipeline.io.nifti import read_nifti

        return read_nifti(case.files[0])
    if case.kind == "metaimage":
        from pipeline.io.metaimage import read_metaimage

        return read_metaimage(case.files[0])
    if case.kind == "image":
        from pipeline.io.image2d import read_image

        return read_image(case.files[0])
    message = f"the folder {case.files[0]} could not be listed ({'; '.join(case.notes)}): change its permissions"
    raise CaseError("UNREADABLE", message)


def read_file(path: Path) -> Volume:
    """The scan or label map in one file that is no DICOM; its suffix tells the reader. CaseError as `read_case`."""
    _, kind = _kind_of(path.name)
    if kind in (None, "dicom"):
        raise CaseError("UNREADABLE", f"{path} has no suffix of a scan or a label map: rename it to what it is")
    return read_case(Case(path.name, kind, (path,)))


def _kind_of(name: str) -> tuple[str, Kind | None]:
    """The suffix by which a file is recognised, as it is spelled, and the reader for it."""
    for suffix, kind in _SUFFIXES.items():
        if name.lower().endswith(suffix):
            return name[-len(suffix) :], kind
    return "", None


def _names(entry: Entry, suffix: str) -> tuple[str, ...]:
    """Names from the shortest: without the suffix, with it, then both below the root's name."""
    full = entry.parts or (entry.base.name,)
    short = (*full[:-1], full[-1].removesuffix(suffix) or full[-1])
    return tuple(safe_path(parts) for parts in (short, full, (entry.base.name, *short), (entry.base.name, *full)))


def _scan(path: Path) -> DicomFile | None:
    try:
        return scan_file(path)
    except OSError:
        # A file of another name that cannot be opened may be anything; reading it as DICOM tells the reason.
        return DicomFile() if path.suffix.lower() in ("", *DICOM_SUFFIXES) else None


def _dicom_cases(scanned: Sequence[tuple[Entry, DicomFile]]) -> list[_Found]:
    """One case a series; one a file for what is not a slice."""
    found = []
    groups: defaultdict[tuple[str, ...], list[tuple[Entry, DicomFile]]] = defaultdict(list)
    for entry, header in scanned:
        if not header.is_slice:
            names = _names(entry, _kind_of(entry.path.name)[0])
            kind: Kind = "dicom_image" if header.is_picture else "dicom"
            found.append(_Found(kind, (entry.path,), names, series=header.series))
        elif header.series:
            groups[header.series, header.sop_class].append((entry, header))
        else:
            groups[str(entry.path.parent), header.series_number, header.sop_class].append((entry, header))
    folders = {key: _folder([entry for entry, _ in group]) for key, group in groups.items()}
    neighbours = Counter(folders.values())
    return found + [_series_case(group, folders[key], neighbours[folders[key]]) for key, group in groups.items()]


def _series_case(group: Sequence[tuple[Entry, DicomFile]], folder: _Folder, neighbours: int) -> _Found:
    """neighbours: how many series have this `folder`, this one counted."""
    entries = sorted((entry for entry, _ in group), key=lambda entry: str(entry.path))
    header = group[0][1]
    notes = []
    if neighbours > 1:
        notes.append(f"{neighbours} series in this folder: one case each")
    if not header.series:
        notes.append("the files name no SeriesInstanceUID: grouped by folder and series number")
    if len(entries) == 1 and entries[0].is_root:
        names = _names(entries[0], _kind_of(entries[0].path.name)[0])
    else:
        base, parts = folder
        own = (f"series_{header.series_number}_{header.series[-8:]}".rstrip("_"),)
        short = (*parts, *own) if neighbours > 1 else parts or (base.name,)
        names = tuple(safe_path(name) for name in (short, (base.name, *short), (base.name, *parts, *own)))
    return _Found("dicom", tuple(entry.path for entry in entries), names, tuple(notes), header.series)


def _folder(entries: Sequence[Entry]) -> _Folder:
    """The deepest folder that holds all these files: a base and the parts below it."""
    bases = {entry.base for entry in entries}
    folder = Path(os.path.commonpath([entry.base.joinpath(*entry.parts[:-1]) for entry in entries]))
    base = bases.pop() if len(bases) == 1 else folder
    return base, folder.relative_to(base).parts


def _only_series(found: Sequence[_Found], series: str) -> list[_Found]:
    chosen = [case for case in found if series and case.series == series]
    if not chosen:
        listed = ", ".join(sorted({case.series for case in found if case.series})) or "none"
        raise InputError(f"no series {series!r} was found; the series found: {listed}")
    return chosen


def _report(found: Sequence[_Found], others: Counter[str], roots: Sequence[Path]) -> None:
    passed = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
    if not found:
        where = ", ".join(map(str, roots))
        rest = f" ({others.total()} other files: {passed})" if others else ""
        raise InputError(f"no scan in {where}{rest}: looked for {_LOOKED_FOR}")
    logger.info("%d case%s found; files passed over: %s", len(found), "s" * (len(found) != 1), passed or "none")
    for case in found:
        for note in case.notes:
            logger.info("%s: %s", case.names[0], note)
