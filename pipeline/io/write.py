"""Labels into files: the suffix chooses the format, the source lends its geometry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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


def write_labels(path: Path, labels: Volume, *, source: Case | None = None, by: Authorship | None = None) -> None:
    """Write a label map as .nii.gz, .nii, .mha, .nrrd, .png, .seg.dcm or .rtstruct.dcm, whole or not at all.

    labels: whole numbers from 0, stored as uint8 (uint16 beyond 255). If `source` has the format of `path`, its own
        geometry is kept bit for bit. DICOM results refer to `source` and say `by` whom they were made.
    InputError: another suffix, or DICOM without `by`. ValueError: no labels, or they do not lie on the source's grid.
    CaseError: WRITE_FAILED; of DICOM also NO_REFERENCE, GRID_MISMATCH.
    """
    volume = Volume(as_labels(labels.array), labels.affine)
    name = path.name.lower()

    def if_it_is(kind: str) -> Path | None:
        return source.files[0] if source is not None and source.kind == kind else None

    if name.endswith((".nii", ".nii.gz")):
        from pipeline.io.nifti import write_nifti

        write_nifti(path, volume, source=if_it_is("nifti"))
    elif name.endswith((".mha", ".nrrd")):
        from pipeline.io.metaimage import write_metaimage

        write_metaimage(path, volume, source=if_it_is("metaimage"))
    elif name.endswith(".png"):
        from pipeline.io.image2d import write_image

        write_image(path, volume, source=if_it_is("image"))
    elif name.endswith((SEG_SUFFIX, RTSTRUCT_SUFFIX)):
        _write_dicom(path, volume, source, by)
    else:
        raise InputError(f"{path}: labels are written as {', '.join(LABEL_SUFFIXES)}: choose one of these")


def check_writable(path: Path, source: Case) -> None:
    """Refuse (NO_REFERENCE) what `write_labels` cannot write for `source`: known before there are labels."""
    if path.name.lower().endswith((SEG_SUFFIX, RTSTRUCT_SUFFIX)):
        from pipeline.io.dicom_source import check_source

        check_source(source, path)


def read_back(path: Path) -> None:
    """Read what `write_labels` has written to its end. CaseError: it is broken, or no longer what its suffix says."""
    name = path.name.lower()
    if name.endswith(SEG_SUFFIX):
        from pipeline.io.dicom_seg import check_segmentation

        check_segmentation(path)
    elif name.endswith(RTSTRUCT_SUFFIX):
        from pipeline.io.rtstruct import check_structure_set

        check_structure_set(path)
    else:
        from pipeline.io.discover import read_file

        read_file(path, allow_tilt=True)  # labels lie on the grid of their scan, whatever that is


def _write_dicom(path: Path, labels: Volume, source: Case | None, by: Authorship | None) -> None:
    if by is None:
        raise InputError(f"{path}: DICOM results say by whom they were made: give `by`, or write .nii.gz")
    if path.name.lower().endswith(SEG_SUFFIX):
        from pipeline.io.dicom_seg_write import write_segmentation

        write_segmentation(path, labels, source=source, by=by)
    else:
        from pipeline.io.rtstruct import write_structure_set

        write_structure_set(path, labels, source=source, by=by)
