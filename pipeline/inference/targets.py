"""Where the results of a batch go, and what makes a batch refuse to start: nothing is ever written over by surprise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.inference.object_table import OBJECTS_FILE
from pipeline.io.discover import Case
from pipeline.io.write import OVERLAYS, PER_LABEL, PROBABILITIES, RTSTRUCT_SUFFIX, SEG_SUFFIX, TRAJECTORIES


class Format(StrEnum):
    """What labels are written as."""

    NIFTI = "nifti"
    PNG = "png"
    DICOM_SEG = "dicom-seg"
    RTSTRUCT = "rtstruct"

    @property
    def suffix(self) -> str:
        return _SUFFIXES[self]


# A DICOM result is one file beside the others, since results of one case share its name; a PACS does not mind the name.
_SUFFIXES = {
    Format.NIFTI: ".nii.gz",
    Format.PNG: ".png",
    Format.DICOM_SEG: SEG_SUFFIX,
    Format.RTSTRUCT: RTSTRUCT_SUFFIX,
}
_OF_PICTURES = (Format.PNG,)
_OF_VOLUMES = (Format.NIFTI, Format.DICOM_SEG, Format.RTSTRUCT)


@dataclass(frozen=True)
class Targets:
    """Where one case goes: its labels in every format, and their contours over the image.

    trajectory: the folder of the contour on its way. objects: the table of all cases, to which it adds its objects.
    per_label: label -> the map of it alone. probabilities: see io/write.py.
    stale: what a run with other flags may have left, which would not belong to the labels any more.
    """

    labels: tuple[Path, ...]
    overlay: Path | None = None
    trajectory: Path | None = None
    objects: Path | None = None
    per_label: Mapping[int, Path] = field(default_factory=dict)
    probabilities: tuple[Path, ...] = ()
    stale: tuple[Path, ...] = ()

    @property
    def results(self) -> tuple[Path, ...]:
        """What a finished case has, whole; the pictures may be missing."""
        return (*self.labels, *self.per_label.values(), *self.probabilities)

    @property
    def paths(self) -> tuple[Path, ...]:
        return (*self.results, *(path for path in (self.overlay, self.trajectory) if path))

    def remove(self) -> None:
        for path in (*self.results, *([self.overlay] if self.overlay else [])):
            path.unlink(missing_ok=True)
        self.remove_stale()
        self.remove_trajectory()

    def remove_stale(self) -> None:
        for path in self.stale:
            path.unlink(missing_ok=True)

    def remove_trajectory(self) -> None:
        """Its files, and the folder if nothing is left: that of case a/b lies inside that of case a."""
        if self.trajectory and self.trajectory.is_dir():
            for path in self.trajectory.iterdir():
                if path.is_file():
                    path.unlink()
            with suppress(OSError):
                self.trajectory.rmdir()


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What is written of each case beside its labels, which names: label value -> name.

    per_label: `per_label`/<id>/<name>.nii.gz, or .png of a picture, for every label: 1 where it is.
    probabilities: `probabilities`/<id>.nii.gz, of a picture `probabilities`/<id>/<name>.png for every label.
    In folders of their own, because `evoseg evaluate` and others take what lies beside labels for labels.
    """

    names: Mapping[int, str]
    per_label: bool = False
    probabilities: bool = False

    def below(self, out: Path, case: str, *, suffix: str) -> dict[str, Any]:
        """The fields of Targets that these are; suffix: of the labels."""
        files = {label: f"{_file_word(name) or label}{suffix}" for label, name in self.names.items()}
        maps = {label: out / PER_LABEL / case / file for label, file in files.items()}
        of_labels = tuple(out / PROBABILITIES / case / file for file in files.values())
        chances = of_labels if suffix == Format.PNG.suffix else (out / PROBABILITIES / f"{case}{suffix}",)
        asked = {"per_label": maps if self.per_label else {}, "probabilities": chances if self.probabilities else ()}
        unasked = (*(() if self.per_label else maps.values()), *(() if self.probabilities else chances))
        return {**asked, "stale": unasked}


def targets_below(
    out: Path,
    cases: Sequence[Case],
    read: Mapping[str, Iterable[Path]],
    *,
    spatial_dims: int,
    formats: Sequence[Format] = (),
    objects: bool = False,
    beside: Beside | None = None,
) -> dict[str, Targets]:
    """Case id -> `out`/<id>.<suffix> in the formats that are asked for, else in that of the bundle, and its pictures.

    read: case id -> all that is read for it; nothing of that is replaced.
    objects: whether the bundle numbers objects, which have a table.
    beside: what is written beside the labels. None: nothing.
    spatial_dims: 2 where the bundle segments pictures, whose labels are PNG; 3 for volumes: NIfTI. A case of the other
    kind is refused by the bundle and has no result. Raises InputError where a format cannot hold the labels, an id
    leads out of `out`, two cases share a file, or a result would replace an input.
    """
    possible = _OF_VOLUMES if spatial_dims == 3 else _OF_PICTURES
    for other in set(formats) - set(possible):
        raise InputError(
            f"--format {other}: this bundle's labels have {spatial_dims} dimensions, they are written as "
            f"{' or '.join(possible)}"
        )
    suffixes = [form.suffix for form in possible if form in (formats or possible[:1])]
    owners = {path.resolve(): f"the input {name}" for name, paths in read.items() for path in paths}
    targets: dict[str, Targets] = {}
    for case in cases:
        labels = tuple(out / f"{case.id}{suffix}" for suffix in suffixes)
        overlay = out / OVERLAYS / f"{case.id}.png"
        trajectory = out / TRAJECTORIES / case.id if spatial_dims == 3 else None
        more = beside.below(out, case.id, suffix=possible[0].suffix) if beside else {}
        targets[case.id] = Targets(labels, overlay, trajectory, out / OBJECTS_FILE if objects else None, **more)
        for path in targets[case.id].paths:
            whole = path.resolve()
            folded = Path(str(whole).casefold())  # to some file systems A.png and a.png are one file
            if out.resolve() not in whole.parents:
                raise InputError(f"case {case.id!r} would be written outside of {out}: rename the input")
            if owner := owners.get(whole) or owners.get(folded):
                way_out = "rename one of them or choose another OUT"
                raise InputError(f"{path} of case {case.id} would replace a file of {owner}: {way_out}")
            owners[folded] = f"case {case.id}"
    return targets


def refuse_existing(paths: Iterable[Path]) -> None:
    """Raise InputError where one of the files is there already."""
    there = [path for path in paths if path.exists()]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise InputError(f"{there[0]}{more} exists already: --resume keeps finished cases, --overwrite replaces them")


def _file_word(name: str) -> str:
    """A label's name as the name of a file, on any system."""
    return re.sub(r"[^\w+-]+", "_", name).strip("_")


def source_of(case: Case) -> str:
    """The input that a person would name: the file, the folder of a series, or the .zip that it was in."""
    if case.archive:
        return str(case.archive.path)
    return str(case.files[0] if len(case.files) == 1 else case.files[0].parent)
