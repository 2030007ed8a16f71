"""A DICOM Segmentation as a label map, for scoring it: segment k is label k."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.errors import CaseError
from pipeline.io.dicom_files import scan_file
from pipeline.io.geometry import LPS_TO_RAS, check_affine
from pipeline.io.refusals import reading
from pipeline.io.volume import Volume

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


def is_segmentation(path: Path) -> bool:
    """Whether the file is a DICOM Segmentation; False too for one that cannot be opened."""
    try:
        header = scan_file(path)
    except OSError:
        return False
    return header is not None and header.sop_class == SEGMENTATION_STORAGE


def check_segmentation(path: Path) -> None:
    """Read a Segmentation to its end, whatever grid its frames lie on. CaseError: UNREADABLE."""
    import highdicom as hd
    from pydicom.pixels import pixel_array

    with reading(path):
        segmentation = hd.seg.segread(path)
        if "PixelData" in segmentation:  # none is needed where nothing was found
            pixel_array(segmentation)


def read_segmentation(path: Path) -> Volume:
    """The segments of a BINARY Segmentation as one label map, segment number k -> label k.

    array: (slices, rows, columns) from the first to the last slice that the file holds; writers leave out empty ones,
        so the map may be shorter than the scan. Slices missing in between are background.
    CaseError: UNREADABLE, UNSUPPORTED_PIXELS (fractional segments), BAD_LABELS (segments that overlap), NO_GEOMETRY
        (frames on no regular grid), BAD_GEOMETRY, SHEARED.
    """
    import highdicom as hd

    with reading(path):
        segmentation = hd.seg.segread(path)
        if segmentation.segmentation_type != hd.seg.SegmentationTypeValues.BINARY:
            kind = segmentation.segmentation_type.value
            raise CaseError("UNSUPPORTED_PIXELS", f"{path} has {kind} segments: export them as BINARY or as NIfTI")
        geometry = segmentation.get_volume_geometry(allow_missing_positions=True)
        if geometry is None:
            raise CaseError("NO_GEOMETRY", f"{path} has frames that lie on no regular grid: export it as NIfTI")
        try:
            volume = segmentation.get_volume(combine_segments=True)
        except RuntimeError as error:
            if "overlap" not in str(error):
                raise
            raise CaseError("BAD_LABELS", f"{path} has segments that overlap: score them one by one") from error
    affine = LPS_TO_RAS @ np.asarray(volume.affine, float)
    check_affine(affine, path)
    return Volume(volume.array, affine)
