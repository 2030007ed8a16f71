"""What a dataset layout tells the common work: where each scan and its label lie, and what the labels are called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError

# The endings that are read as volumes.
VOLUME_ENDINGS = (".nii.gz", ".nii", ".mha", ".nrrd")


@dataclass(frozen=True)
class Scan:
    """One scan and where its files are expected; whether they are there is checked when the scan is prepared."""

    id: str
    images: tuple[Path, ...]
    """One file per channel, or a single file that holds all channels."""
    label: Path


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """All scans of a source folder."""

    name: str
    root: Path
    """The folder that recorded file names are relative to."""
    channels: tuple[str, ...]
    """Name of each image channel; ("CT",) means Hounsfield units."""
    labels: dict[int, str] | None
    """Value -> name without the background; None: the layout does not say, and the values are kept as they are."""
    scans: tuple[Scan, ...]
    undecided: str | None = None
    """Why only --label can say what the labels are; None: it need not."""

    @property
    def modality(self) -> str:
        return "+".join(self.channels)


def stem_of(path: Path) -> str | None:
    """The file's name without its volume ending; None for hidden files (macOS `._x.nii.gz`) and other kinds."""
    for ending in VOLUME_ENDINGS:
        if path.name.lower().endswith(ending) and not path.name.startswith("."):
            return path.name[: -len(ending)]
    return None


def volumes_in(folder: Path) -> dict[str, Path]:
    """Stem -> file for every volume in the folder, sorted; InputError when two have one stem (x.nii, x.nii.gz)."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        stem = stem_of(path)
        if stem is None:
            continue
        if stem in found:
            raise InputError(f"{folder}: {found[stem].name} and {path.name} are one case under two names; remove one")
        found[stem] = path
    return found
