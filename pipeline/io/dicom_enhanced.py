"""Enhanced multi-frame CT, MR and PET: one file whose frames are the slices of a volume."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import CaseError
from pipeline.io.dicom_geometry import slice_grid
from pipeline.io.dicom_pixels import decode_frames, with_room_for
from pipeline.io.pixels import check_finite
from pipeline.io.refusals import reading
from pipeline.io.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

_ENHANCED = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{number}"
    for number in ("2.1", "2.2", "4.1", "4.4", "130", "128.1")  # CT, MR and PET, made so and converted
)
_FRAMES = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# Where a frame says what a single slice says in its header: PS3.3 C.7.6.16.2.
_MACROS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
}


def is_enhanced(sop_class: str) -> bool:
    """Whether objects of this class have frames that can make a volume."""
    return sop_class in _ENHANCED


def read_enhanced(path: Path, *, allow_tilt: bool = False) -> Volume:
    """Read one multi-frame file as `read_series` reads a series; several frames at one place are DUPLICATE_SLICES.

    Volume: array (columns, rows, slices), frames sorted along the normal, each rescaled by its own numbers.
    CaseError: as `read_series`.
    """
    import pydicom

    with reading(path):
        dataset = pydicom.dcmread(path, force=True)
        if missing := [name for name in _FRAMES if not dataset.get(name)]:
            message = f"{path} has no {missing[0]}, which tells where its frames lie: export the original series"
            raise CaseError("NO_GEOMETRY", message)
        frames = frame_headers(dataset)
    grid = slice_grid(frames, path, allow_tilt=allow_tilt)
    with reading(path):
        values = decode_frames(dataset, frames, path)
        stack = with_room_for(np.empty(values.shape, np.int16), values)
        stack[:] = values[grid.order]
    check_finite(stack, path)
    return Volume(stack.T, grid.affine)


def frame_headers(dataset: Dataset) -> list[Dataset]:
    """For each frame the header that it would have as a single slice: size, place, rescaling; nothing is made up.

    AttributeError where the file has no frames of this kind.
    """
    from pydicom import Dataset

    shared = dataset.SharedFunctionalGroupsSequence[0]
    headers = []
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        header = Dataset()
        header.Rows, header.Columns = dataset.Rows, dataset.Columns
        for macro, keywords in _MACROS.items():
            said = (groups.get(macro) or shared.get(macro) or [Dataset()])[0]
            for keyword in keywords:
                if keyword in said:
                    header[keyword] = said[keyword]
        headers.append(header)
    return headers
