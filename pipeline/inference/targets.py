"""Where the results of a batch go, and what makes a batch refuse to start: nothing is ever written over by surprise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.errors import InputError
from pipeline.inference.object_table import OBJECTS_FILE
from pipeline.io.discover import Case
from pipeline.io.write import OVERLAYS, RTSTRUCT_SUFFIX, SEG_SUFFIX, TRAJECTORIES


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
    """Where one case goes: its labels in every format; of a volume their contours over the scan too.

    trajectory: the folder of the contour on its way. objects: the table of all cases, to which it adds its objects.
    """

    labels: tuple[Path, ...]
    overlay: Path | None = None
    trajectory: Path | None = None
    objects: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        return (*self.labels, *(path for path in (self.overlay, self.trajectory) if path))

    def remove(self) -> None:
        for path in (*self.labels, *([self.overlay] if self.overlay else [])):
            path.unlink(missing_ok=True)
        self.remove_trajectory()

    def remove_trajectory(self) -> None:
        """Its files, and the folder if nothing is left: that of case a/b lies inside that of case a."""
        if self.trajectory and self.trajectory.is_dir():
            for path in self.trajectory.iterdir():
                if path.is_file():
                    path.unlink()
            with suppress(OSError):
                self.trajectory.rmdir()


def targets_below(
    out: Path,
    cases: Sequence[Case],
    read: Mapping[str, Iterable[Path]],
    *,
    spatial_dims: int,
    formats: Sequence[Format] = (),
    objects: bool = False,
) -> dict[str, Targets]:
    """Case id -> `out`/<id>.<suffix> in the formats that are asked for, else in that of the bundle, and its pictures.

    read: case id -> all that is read for it; nothing of that is replaced.
    objects: whether the bundle numbers objects: they have a table, and their outlines are drawn over the picture.
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
        overlay = out / OVERLAYS / f"{case.id}.png" if spatial_dims == 3 or objects else None
        trajectory = out / TRAJECTORIES / case.id if spatial_dims == 3 else None
        targets[case.id] = Targets(labels, overlay, trajectory, out / OBJECTS_FILE if objects else None)
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


def source_of(case: Case) -> str:
    """The input that a person would name: the file, the folder of a series, or the .zip that it was in."""
    if case.archive:
        return str(case.archive)
    return str(case.files[0] if len(case.files) == 1 else case.files[0].parent)
