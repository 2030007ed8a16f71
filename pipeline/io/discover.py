"""From files and folders to cases: what there is to segment, each named once, each choice reported."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.errors import CaseError, InputError
from pipeline.io.case_ids import unique_ids
from pipeline.io.dicom_cases import dicom_cases
from pipeline.io.dicom_files import DICOM_SUFFIXES, DICOMDIR, DicomFile, scan_file
from pipeline.io.found import Found, Kind, found_file
from pipeline.io.unzip import Archive
from pipeline.io.volume import Volume
from pipeline.io.walk import Entry, walk

logger = logging.getLogger(__name__)

_SUFFIXES: dict[str, Kind] = {
    ".nii.gz": "nifti", ".nii": "nifti",
    ".mha": "metaimage", ".mhd": "metaimage", ".nrrd": "metaimage", ".nhdr": "metaimage",
    ".png": "image", ".jpg": "image", ".jpeg": "image", ".tif": "image", ".tiff": "image", ".bmp": "image",
    **dict.fromkeys(DICOM_SUFFIXES, "dicom"),
}  # fmt: skip
IMAGE_SUFFIXES = tuple(_SUFFIXES)
_LOOKED_FOR = "DICOM, NIfTI (.nii, .nii.gz), MHA, NRRD, PNG, JPEG, TIFF and BMP"


@dataclass(frozen=True)
class Case:
    """One thing to segment.

    id: its name, a relative path with "/" that is safe to write under, unique in its list also without regard to case.
    kind: the reader; "dicom_image" is one DICOM picture, "unreadable" a folder or .zip that could not be opened.
    files: the file, or the files of one DICOM series.
    notes: the choices that discovery made.
    modality: of DICOM files, CT or MR or another; empty where it is not known.
    archive: the .zip that the files were in.
    tilt_allowed: whether a tilted gantry is accepted, in DICOM and in NIfTI; the volume's affine is sheared then.
    """

    id: str
    kind: Kind
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    modality: str = ""
    archive: Archive | None = None
    tilt_allowed: bool = False

    @property
    def is_picture(self) -> bool:
        """Whether it is two-dimensional, as far as the headers tell: its labels are a .png."""
        return self.kind in ("image", "dicom_image")


def find_cases(
    roots: Path | Sequence[Path],
    *,
    series: str | None = None,
    allow_tilt: bool = False,
    unpack_to: Path | None = None,
) -> list[Case]:
    """All cases under `roots` (files and folders, mixed), sorted by id.

    DICOM files are told by their content and grouped by series wherever they lie; a series that holds several volumes
    is a case for each; pictures (ultrasound, X-ray, photographs) are one case a file. What looks like an image and
    cannot be read is a case that `read_case` refuses. Localizers, reformatted images, screen saves, reports and the
    like are passed over, unless a root is that very file or `series` names them.
    series: only this SeriesInstanceUID. allow_tilt: as in Case. unpack_to: a folder for what is in .zip files; None:
    they are no input.
    InputError: a root does not exist, nothing was found, or not this series.
    """
    roots = [Path(roots)] if isinstance(roots, str | os.PathLike) else [Path(root) for root in roots]
    found: list[Found] = []
    scans: list[tuple[Entry, DicomFile]] = []
    passed: list[tuple[Entry, DicomFile]] = []
    others: Counter[str] = Counter()
    for entry in walk(roots, unpack_to=unpack_to):
        suffix, kind = _kind_of(entry.path.name)
        if entry.error:
            found.append(found_file("unreadable", entry, "", notes=(entry.error,)))
        elif kind not in (None, "dicom"):
            found.append(found_file(kind, entry, suffix))
        elif (header := _scan(entry.path)) is not None:
            is_asked_for = not header.no_scan or entry.is_root or header.series == series
            (scans if is_asked_for else passed).append((entry, header))
        elif kind == "dicom" and not entry.path.name.upper().startswith(DICOMDIR):
            found.append(found_file("dicom", entry, suffix))
        else:
            others[entry.path.suffix.lower() or "no suffix"] += 1
    found += dicom_cases(scans)
    _report_series(passed, {header.study for _, header in scans})
    if series is not None:
        found = _only_series(found, series)
    _report(found, others + Counter(header.no_scan for _, header in passed), roots)
    found.sort(key=lambda each: (each.names[0], str(each.files[0])))
    ids = unique_ids([each.names for each in found])
    return sorted(map(partial(_case, tilt_allowed=allow_tilt), ids, found), key=lambda case: case.id)


def read_case(case: Case) -> Volume:
    """The scan of `case` on its own grid. CaseError with a code for all that is no scan or cannot be trusted."""
    if case.kind in ("dicom", "dicom_image"):
        from pipeline.io.dicom_series import read_series

        return read_series(case.files, allow_tilt=case.tilt_allowed)
    if case.kind == "nifti":
        from pipeline.io.nifti import read_nifti

        return read_nifti(case.files[0], allow_shear=case.tilt_allowed)
    if case.kind == "metaimage":
        from pipeline.io.metaimage import read_metaimage

        return read_metaimage(case.files[0])
    if case.kind == "image":
        from pipeline.io.image2d import read_image

        return read_image(case.files[0])
    raise CaseError("UNREADABLE", "; ".join(case.notes))


def read_file(path: Path, *, allow_tilt: bool = False) -> Volume:
    """The scan or label map in one file that is no DICOM; its suffix tells the reader. CaseError as `read_case`."""
    _, kind = _kind_of(path.name)
    if kind in (None, "dicom"):
        raise CaseError("UNREADABLE", f"{path} has no suffix of a scan or a label map: rename it to what it is")
    return read_case(Case(path.name, kind, (path,), tilt_allowed=allow_tilt))


def _kind_of(name: str) -> tuple[str, Kind | None]:
    """The suffix by which a file is recognised, as it is spelled, and the reader for it."""
    for suffix, kind in _SUFFIXES.items():
        if name.lower().endswith(suffix):
            return name[-len(suffix) :], kind
    return "", None


def _scan(path: Path) -> DicomFile | None:
    try:
        return scan_file(path)
    except OSError:
        # A file of another name that cannot be opened may be anything; reading it as DICOM tells the reason.
        return DicomFile() if path.suffix.lower() in ("", *DICOM_SUFFIXES) else None


def _case(name: str, found: Found, *, tilt_allowed: bool) -> Case:
    return Case(
        id=name,
        kind=found.kind,
        files=found.files,
        notes=found.notes,
        modality=found.modality,
        archive=found.archive,
        tilt_allowed=tilt_allowed,
    )


def _only_series(found: Sequence[Found], series: str) -> list[Found]:
    chosen = [case for case in found if series and case.series == series]
    if not chosen:
        listed = ", ".join(sorted({case.series for case in found if case.series})) or "none"
        raise InputError(f"no series {series!r} was found; the series found: {listed}")
    return chosen


def _report(found: Sequence[Found], others: Counter[str], roots: Sequence[Path]) -> None:
    passed = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
    if not found:
        where = ", ".join(map(str, roots))
        rest = f" ({others.total()} other file{'s' * (others.total() != 1)}: {passed})" if others else ""
        media = [str(root.parent) for root in roots if root.name.upper() == DICOMDIR and root.is_file()]
        way_out = f"give the folder of the medium, {', '.join(media)}" if media else f"looked for {_LOOKED_FOR}"
        raise InputError(f"no scan in {where}{rest}: {way_out}")
    logger.info("%d case%s found; files passed over: %s", len(found), "s" * (len(found) != 1), passed or "none")
    for case in found:
        for note in case.notes:
            logger.info("%s: %s", case.names[0], note)


def _report_series(passed: Sequence[tuple[Entry, DicomFile]], scanned: set[str]) -> None:
    """A line for each series, or file without one, that was passed over; a warning of a study that is not `scanned`."""
    counted = Counter((str(_folder(entry)), header.no_scan, header.series) for entry, header in passed)
    for (place, what, series), count in sorted(counted.items()):
        logger.info("%s: %d file%s passed over: %s (series %s)", place, count, "s" * (count > 1), what, series or "-")
    lost = {header.study: _folder(entry) for entry, header in passed if header.study not in scanned}
    for study, folder in sorted(lost.items()):
        logger.warning("%s: no scan in study %s, all of it was passed over; --series UID takes a series", folder, study)


def _folder(entry: Entry) -> Path:
    """Where a person looks for it: of a .zip as if it were a folder."""
    return entry.base.joinpath(*entry.parts[:-1])
