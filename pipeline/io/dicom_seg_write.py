"""A label map as a DICOM Segmentation: label k is segment k, every frame refers to the slice that it was drawn on."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import CaseError
from pipeline.io.dicom_source import DicomSource, on_planes, read_source
from pipeline.io.segments import Authorship, Segment
from pipeline.io.versions import versions
from pipeline.io.volume import Volume
from pipeline.io.whole_file import whole_file

if TYPE_CHECKING:
    import highdicom as hd
    from numpy.typing import NDArray

    from pipeline.io.discover import Case

_SERIES = 1000  # added to the source's series number
_LONGEST = 64  # characters of a long string (LO)


def write_segmentation(path: Path, labels: Volume, *, source: Case | None, by: Authorship) -> None:
    """Write `labels` as a BINARY Segmentation of the series `source`, whole or not at all.

    labels: whole numbers from 0 on the source's grid, in any order of axes. Frames without a label are left out, unless
        no frame has one.
    The same source, labels and author give the same bytes: UIDs are derived from these, dates are the source's.
    CaseError: NO_REFERENCE, GRID_MISMATCH, WRITE_FAILED; what reading the source's headers refuses.
    """
    origin = read_source(source, path)
    pixels = on_planes(labels, origin.planes, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # they quote the patient's name, which no log may hold
            segmentation = _segmentation(origin, pixels, by)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        message = f"{path.name}: the source's headers cannot carry a Segmentation ({type(error).__name__})"
        raise CaseError("NO_REFERENCE", f"{message}: use --format nifti for it") from None  # it quotes them
    _without_chance(segmentation, origin, origin.identify("dimensions", pixels, by))
    with whole_file(path) as part:
        segmentation.save_as(part)


def _segmentation(origin: DicomSource, pixels: NDArray, by: Authorship) -> hd.seg.Segmentation:
    import highdicom as hd

    segments = by.described(int(pixels.max()))
    date, time = origin.moment
    return hd.seg.Segmentation(
        source_images=origin.instances,
        pixel_array=pixels.astype(np.uint8 if len(segments) < 256 else np.uint16),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        omit_empty_frames=bool(pixels.any()),  # or highdicom says in the log that it must keep them
        segment_descriptions=[
            _description(k, segment, by, origin.identify(f"segment {k}", pixels, by))
            for k, segment in enumerate(segments, start=1)
        ],
        series_instance_uid=origin.identify("segmentation series", pixels, by),
        series_number=origin.series_number + _SERIES,
        sop_instance_uid=origin.identify("segmentation", pixels, by),
        instance_number=1,
        manufacturer="evoseg",
        manufacturer_model_name=by.algorithm[:_LONGEST],
        software_versions=versions("evoseg")["evoseg"] or "unknown",
        device_serial_number=by.weights_sha256[:_LONGEST],
        content_label="SEGMENTATION",
        content_description=", ".join(segment.name for segment in segments)[:_LONGEST],
        series_description=f"evoseg {by.algorithm}"[:_LONGEST],
        content_date=date,
        content_time=time,
        series_date=date,
        series_time=time,
    )


def _description(number: int, segment: Segment, by: Authorship, uid: str) -> hd.seg.SegmentDescription:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    kinds = hd.seg.SegmentAlgorithmTypeValues
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name[:_LONGEST],
        segmented_property_category=hd.sr.CodedConcept(*segment.category),
        segmented_property_type=hd.sr.CodedConcept(*segment.type),
        algorithm_type=kinds.AUTOMATIC if by.automatic else kinds.SEMIAUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=by.algorithm[:_LONGEST],
            version=by.version,
            family=codes.DCM.ArtificialIntelligence,
            source="evoseg",
            parameters={"weights_sha256": by.weights_sha256},
        ),
        tracking_uid=uid,
        tracking_id=f"{by.algorithm} {segment.name}"[:_LONGEST],
        display_color=hd.color.CIELabColor.from_rgb(*segment.rgb),
    )


def _without_chance(segmentation: hd.seg.Segmentation, origin: DicomSource, uid: str) -> None:
    """Put the source's date and a derived UID where highdicom puts the clock's and a random one."""
    from pydicom.valuerep import DA, TM

    date, time = origin.moment
    segmentation.InstanceCreationDate, segmentation.InstanceCreationTime = DA(date), TM(time)
    for equipment in segmentation.get("ContributingEquipmentSequence", ()):
        if equipment.get("ManufacturerModelName") == "highdicom":
            equipment.ContributionDateTime = date + time
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
