"""Reading one scan of a dataset: its channels as one image, its label, and the proof that they share a grid."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np

from data_prep.layout import Scan
from pipeline.errors import CaseError
from pipeline.io.discover import read_file
from pipeline.io.geometry import check_affine
from pipeline.io.pixels import check_finite
from pipeline.io.refusals import reading
from pipeline.io.volume import Volume

# Headers of twins from different programs differ in their last digits; a tenth of a millimetre is far below a voxel.
TOLERANCE_MM = 0.1


def read_scan(scan: Scan, channels: int) -> tuple[Volume, Volume]:
    """Image (x, y, z), or (x, y, z, channel) for several channels, and label (x, y, z), in stored axis order.

    CaseError GRID_MISMATCH, and whatever reading a file may raise.
    """
    label = read_file(scan.label)
    if len(scan.images) == 1 and channels > 1:
        image = _read_stacked(scan.images[0], channels)
        _require_same_grid(scan.images[0], image, scan.label, label)
        return image, label
    images = [read_file(path) for path in scan.images]
    for path, image in zip(scan.images, images, strict=True):
        _require_same_grid(path, image, scan.label, label)
    if channels == 1:
        return images[0], label
    return Volume(np.stack([image.array for image in images], axis=3), images[0].affine), label


def require_files(scan: Scan) -> None:
    """CaseError MISSING_FILE naming every expected file that is not there."""
    missing = [f"{path.parent.name}/{path.name}" for path in (*scan.images, scan.label) if not path.is_file()]
    if missing:
        raise CaseError("MISSING_FILE", f"{scan.id} lacks {', '.join(missing)}: add what is missing or remove the case")


def _read_stacked(path: Path, channels: int) -> Volume:
    """All channels of one four-dimensional file, which read_nifti refuses: elsewhere a fourth axis may be time."""
    with reading(path):
        file = cast(nib.Nifti1Image, nib.load(path))
        affine = np.asarray(file.affine, dtype=np.float64)
        if file.ndim != 4 or file.shape[3] != channels:
            message = f"{path} has shape {file.shape}, but dataset.json names {channels} channels: correct one of them"
            raise CaseError("NOT_3D", message)
        array = np.asarray(file.dataobj, dtype=np.float32)
    check_affine(affine, path)
    check_finite(array, path)
    return Volume(array, affine)


def _require_same_grid(image_path: Path, image: Volume, label_path: Path, label: Volume) -> None:
    if image.spatial_shape != label.spatial_shape:
        raise CaseError(
            "GRID_MISMATCH",
            f"{image_path.name} has shape {image.spatial_shape} and {label_path.name} {label.spatial_shape}: "
            "resample the label to the image's grid",
        )
    if not image.same_grid(label, TOLERANCE_MM):
        affines = " and ".join(str(volume.affine[:3].round(3).tolist()) for volume in (image, label))
        raise CaseError(
            "GRID_MISMATCH",
            f"{image_path.name} and {label_path.name} have one shape, {image.spatial_shape}, but two places: "
            f"their affines are {affines}: correct the wrong header",
        )
