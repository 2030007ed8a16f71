"""Labels into files: the suffix chooses the format, the source lends its geometry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import InputError
from pipeline.io.pixels import as_labels
from pipeline.io.volume import Volume

if TYPE_CHECKING:
    from pipeline.io.discover import Case

LABEL_SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd", ".png")
OVERLAYS = "overlays"  # the folder of contours drawn over the scans, beside the labels: what it holds is no label map
TRAJECTORIES = "trajectory"  # likewise the folder of contours on their way


def write_labels(path: Path, labels: Volume, *, source: Case | None = None) -> None:
    """Write a label map as .nii.gz, .nii, .mha, .nrrd or .png, whole or not at all.

    labels: whole numbers from 0, stored as uint8 (uint16 beyond 255). If `source` has the format of `path`, its own
        geometry is kept bit for bit.
    InputError: another suffix. ValueError: no labels, or they do not lie on the source's grid. CaseError: WRITE_FAILED.
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
    else:
        raise InputError(f"{path}: labels are written as {', '.join(LABEL_SUFFIXES)}: choose one of these")
