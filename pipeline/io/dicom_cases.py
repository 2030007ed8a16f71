"""From DICOM headers to cases: one a series, or a volume of a series; one a file for what is no slice."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.io.case_ids import safe_path
from pipeline.io.copies import without_copies
from pipeline.io.dicom_files import DICOM_SUFFIXES, DicomFile
from pipeline.io.dicom_split import Part, split
from pipeline.io.found import Found, Kind, found_file, names_of
from pipeline.io.walk import Entry

_Folder = tuple[Path, tuple[str, ...]]  # a base, and the parts of a folder below it
_Group = Sequence[tuple[Entry, DicomFile]]


def dicom_cases(scanned: _Group) -> list[Found]:
    """The cases of these files, each choice in their notes."""
    found = []
    groups: defaultdict[tuple[str, ...], list[tuple[Entry, DicomFile]]] = defaultdict(list)
    for entry, header in scanned:
        if not header.is_slice:
            kind: Kind = "dicom_image" if header.is_picture else "dicom"
            facts = {"series": header.series, "modality": header.modality}
            found.append(found_file(kind, entry, _suffix(entry), **facts))
        elif header.series:
            groups[header.series, header.sop_class].append((entry, header))
        else:
            groups[str(entry.path.parent), header.series_number, header.sop_class].append((entry, header))
    series = {key: without_copies(group) for key, group in groups.items()}
    folders = {key: _folder([entry for entry, _ in group]) for key, (group, _) in series.items()}
    neighbours = Counter(folders.values())
    for key, (group, notes) in series.items():
        found += _series_cases(group, folders[key], neighbours[folders[key]], notes)
    return found


def _series_cases(group: _Group, folder: _Folder, neighbours: int, made: Sequence[str]) -> Iterator[Found]:
    """group: sorted by path. neighbours: how many series have this `folder`, this one counted. made: choices so far."""
    header = group[0][1]
    parts = split([each.place for _, each in group])
    notes = [*made]
    if neighbours > 1:
        notes.append(f"{neighbours} series in this folder: one case each")
    if not header.series:
        notes.append("the files name no SeriesInstanceUID: grouped by folder and series number")
    if header.is_derived:
        notes.append("its ImageType is DERIVED: taken for a scan all the same")
    if len(parts) > 1:
        told_by = ", ".join(dict.fromkeys(tag for part in parts for tag in part.told_by))
        notes.append(f"the series holds {len(parts)} volumes, told apart by {told_by}: one case each")
    for part in parts:
        entries = [group[index][0] for index in part.indices]
        yield Found(
            kind="dicom",
            files=tuple(entry.path for entry in entries),
            names=_series_names(group, folder, part, alone=neighbours == 1),
            notes=tuple(notes),
            series=header.series,
            modality=header.modality,
            archive=entries[0].archive,
        )


def _series_names(group: _Group, folder: _Folder, part: Part, *, alone: bool) -> tuple[str, ...]:
    """Ids of a volume of a series. alone: whether no other series is in its folder."""
    first, header = group[0]
    if len(group) == 1 and first.is_root:
        return names_of(first, _suffix(first))
    base, parts = folder
    series = f"series_{header.series_number}_{header.series[-8:]}".rstrip("_")
    own = ("_".join(filter(None, (series, part.name))),)
    named = (part.name,) if part.name else ()
    short = (*(parts or (base.name,)), *named) if alone else (*parts, *own)
    return tuple(safe_path(name) for name in (short, (base.name, *short), (base.name, *parts, *own)))


def _suffix(entry: Entry) -> str:
    """The suffix of a DICOM file as it is spelled, if it has one of these."""
    suffix = entry.path.suffix
    return suffix if suffix.lower() in DICOM_SUFFIXES else ""


def _folder(entries: Sequence[Entry]) -> _Folder:
    """The deepest folder that holds all these files: a base and the parts below it."""
    bases = {entry.base for entry in entries}
    folder = Path(os.path.commonpath([entry.base.joinpath(*entry.parts[:-1]) for entry in entries]))
    base = bases.pop() if len(bases) == 1 else folder
    return base, folder.relative_to(base).parts
