"""Labels into files: the suffix chooses the format, the source lends its geometry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InputError
from pipeline.io.pixels import as_labels
from pipeline.io.volume import Volume

if TYPE_CHECKING:
    from pipeline.io.discover import Case
    from pipeline.io.segments import Authorship

SEG_SUFFIX, RTSTRUCT_SUFFIX = ".seg.dcm", ".rtstruct.dcm"
LABEL_SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd", ".png", SEG_SUFFIX, RTSTRUCT_SUFFIX)
OVERLAYS = "overlays"  # the folder of contours drawn over the scans, beside the labels: what it holds is no label map
TRAJECTORIES = "trajectory"  # likewise the folder of contours on their way
PER_LABEL = "per_label"  # the folder of label maps of one label each, which tell what the labels beside it tell
PROBABILITIES = "probabilities"
BESIDE_LABELS = (OVERLAYS, TRAJECTORIES, PER_LABEL, PROBABILITIES)  # in these is no result of a case


def write_labels(path: Path, labels: Volume, *, source: Case | None = None, by: Authorship | None = None) -> None:
    """Write a label map as .nii.gz, .nii, .mha, .nrrd, .png, .seg.dcm or .rtstruct.dcm, whole or not at all.

    labels: whole numbers from 0, stored as uint8 (uint16 beyond 255). If `source` has the format of `path`, its own
        geometry is kept bit for bit. DICOM results refer to `source` and say `by` whom they were made.
    InputError: another suffix, or DICOM without `by`. ValueError: no labels, or they do not lie on the source's grid.
    CaseError: WRITE_FAILED; of DICOM also NO_REFERENCE, GRID_MISMATCH.
    """
    volume = Volume(as_labels(labels.array), labels.affine)
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        from pipeline.io.nifti import write_nifti

        write_nifti(path, volume, source=_file_of(source, "nifti"))
    elif name.endswith((".mha", ".nrrd")):
        from pipeline.io.metaimage import write_metaimage

        write_metaimage(path, volume, source=_file_of(source, "metaimage"))
    elif name.endswith(".png"):
        from pipeline.io.image2d import write_image

        write_image(path, volume, source=_file_of(source, "image"))
    elif name.endswith((SEG_SUFFIX, RTSTRUCT_SUFFIX)):
        _write_dicom(path, volume, source, by)
    else:
        raise InputError(f"{path}: labels are written as {', '.join(LABEL_SUFFIXES)}: choose one of these")


def write_per_label(paths: Mapping[int, Path], labels: Volume, *, source: Case | None = None) -> None:
    """Write for each label a map of it alone, 1 where `labels` has it, as `write_labels` does."""
    for label, path in paths.items():
        write_labels(path, Volume((labels.array == label).astype(np.uint8), labels.affine), source=source)


def write_probabilities(paths: Sequence[Path], probabilities: Volume, *, source: Case | None = None) -> None:
    """Write probabilities (*spatial, labels) of 16 bits, 65535 for 1, whole or not at all, on the source's grid.

    paths: of a volume one .nii.gz, the labels along its fourth axis, its header turning 65535 into 1 (NIfTI has no
    type of 16 fractional bits); of a picture a .png for each label, whose numbers stay as they are.
    CaseError: WRITE_FAILED.
    """
    if probabilities.spatial_dims == 3:
        from pipeline.io.nifti import write_nifti

        (path,) = paths
        write_nifti(path, probabilities, source=_file_of(source, "nifti"), unit=1 / np.iinfo(np.uint16).max)
    else:
        from pipeline.io.image2d import write_image

        for k, path in enumerate(paths):
            of_label = Volume(probabilities.array[..., k], probabilities.affine)
            write_image(path, of_label, source=_file_of(source, "image"))


def check_writable(path: Path, source: Case) -> None:
    """Refuse (NO_REFERENCE) what `write_labels` cannot write for `source`: known before there are labels."""
    if path.name.lower().endswith((SEG_SUFFIX, RTSTRUCT_SUFFIX)):
        from pipeline.io.dicom_source import check_source

        check_source(source, path)


def read_back(path: Path) -> None:
    """Read what one of the above has written to its end. CaseError: it is broken, or no longer what its suffix says."""
    name = path.name.lower()
    if name.endswith(SEG_SUFFIX):
        from pipeline.io.dicom_seg import check_segmentation

        check_segmentation(path)
    elif name.endswith(RTSTRUCT_SUFFIX):
        from pipeline.io.rtstruct import check_structure_set

        check_structure_set(path)
    elif name.endswith((".nii", ".nii.gz")):
        from pipeline.io.nifti import check_nifti

        check_nifti(path)
    else:
        from pipeline.io.discover import read_file

        read_file(path, allow_tilt=True)  # labels lie on the grid of their scan, whatever that is


def _file_of(source: Case | None, kind: str) -> Path | None:
    """The file of `source` if that is of this kind, so that its geometry can be kept."""
    return source.files[0] if source is not None and source.kind == kind else None


def _write_dicom(path: Path, labels: Volume, source: Case | None, by: Authorship | None) -> None:
    if by is None:
        raise InputError(f"{path}: DICOM results say by whom they were made: give `by`, or write .nii.gz")
    if path.name.lower().endswith(SEG_SUFFIX):
        from pipeline.io.dicom_seg_write import write_segmentation

        write_segmentation(path, labels, source=source, by=by)
    else:
        from pipeline.io.rtstruct import write_structure_set

        write_structure_set(path, labels, source=source, by=by)
