"""A label map as an RT Structure Set: label k is ROI k, outlined slice by slice along the edges of its pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CaseError
from pipeline.io.contours import outlines
from pipeline.io.dicom_source import DicomSource, Plane, on_planes, read_source
from pipeline.io.refusals import reading, truncated
from pipeline.io.segments import ANATOMICAL_STRUCTURE, Authorship, Code, Segment
from pipeline.io.versions import versions
from pipeline.io.volume import Volume
from pipeline.io.whole_file import whole_file

if TYPE_CHECKING:
    from pydicom import Dataset, FileDataset

    from pipeline.io.discover import Case

STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
_STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"  # what RTReferencedStudySequence calls a study (PS3.3 C.8.8.5)
_SERIES = 2000  # added to the source's series number
_LONGEST, _SHORTEST = 64, 16  # characters of a long and of a short string (LO, SH)
# Taken over from the source: who and when, as far as it says so.
_INHERITED = (
    "SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientWeight",
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber",
    "ReferringPhysicianName", "FrameOfReferenceUID", "PositionReferenceIndicator",
)  # fmt: skip


def write_structure_set(path: Path, labels: Volume, *, source: Case | None, by: Authorship) -> None:
    """Write `labels` as an RT Structure Set of the series `source`, whole or not at all.

    labels: whole numbers from 0 on the source's grid, in any order of axes. A label without voxels is a ROI without
    contours. The same source, labels and author give the same bytes: UIDs are derived from these, dates the source's.
    CaseError: NO_REFERENCE, GRID_MISMATCH, WRITE_FAILED; what reading the source's headers refuses.
    """
    origin = read_source(source, path)
    pixels = on_planes(labels, origin.planes, path)
    with whole_file(path) as part:
        _structure_set(origin, pixels, by).save_as(part, enforce_file_format=True)


def check_structure_set(path: Path) -> None:
    """Read a structure set of ours to its end. CaseError: UNREADABLE, TRUNCATED, NOT_AN_IMAGE (another object)."""
    import pydicom

    with reading(path):
        found = pydicom.dcmread(path, force=True)  # one cut early is no file to pydicom: it lacks its class then
        if found.SOPClassUID != STRUCTURE_SET_STORAGE:
            raise CaseError("NOT_AN_IMAGE", f"{path} is a DICOM {found.SOPClassUID.name}, no structure set: remove it")
        if "ApprovalStatus" not in found:  # the last of its attributes
            raise truncated(path, "it ends before its last attribute")


def _structure_set(origin: DicomSource, pixels: NDArray, by: Authorship) -> FileDataset:
    segments = list(enumerate(by.described(int(pixels.max())), start=1))
    found = _object(origin, pixels, by)
    header = origin.instances[0]
    found.StructureSetLabel = "evoseg"
    found.StructureSetName = by.algorithm[:_LONGEST]
    found.StructureSetDate, found.StructureSetTime = origin.moment
    series = _item(SeriesInstanceUID=header.SeriesInstanceUID, ContourImageSequence=[*map(_reference, origin.planes)])
    study = _item(
        ReferencedSOPClassUID=_STUDY_COMPONENT,
        ReferencedSOPInstanceUID=header.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    frame_of_reference = header.FrameOfReferenceUID
    found.ReferencedFrameOfReferenceSequence = [
        _item(FrameOfReferenceUID=frame_of_reference, RTReferencedStudySequence=[study])
    ]
    found.StructureSetROISequence = [
        _item(
            ROINumber=k,
            ReferencedFrameOfReferenceUID=frame_of_reference,
            ROIName=segment.name[:_LONGEST],
            ROIGenerationAlgorithm="AUTOMATIC" if by.automatic else "SEMIAUTOMATIC",
            ROIGenerationDescription=f"{by.algorithm} {by.version}"[:_LONGEST],
        )
        for k, segment in segments
    ]
    found.ROIContourSequence = [_roi(k, segment, _contours(pixels == k, origin.planes)) for k, segment in segments]
    found.RTROIObservationsSequence = [_observation(k, segment) for k, segment in segments]
    found.ApprovalStatus = "UNAPPROVED"
    return found


def _object(origin: DicomSource, pixels: NDArray, by: Authorship) -> FileDataset:
    """The patient, the study, the series and the equipment; implicit VR, whose values may be longer than 64 KiB."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ImplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    found = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    header = origin.instances[0]
    for keyword in _INHERITED:
        if keyword in header:
            found[keyword] = header[keyword]
    meta.MediaStorageSOPClassUID = found.SOPClassUID = UID(STRUCTURE_SET_STORAGE)
    meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID = UID(origin.identify("structure set", pixels, by))
    found.SeriesInstanceUID = origin.identify("structure set series", pixels, by)
    found.Modality = "RTSTRUCT"
    found.SeriesNumber = origin.series_number + _SERIES
    found.InstanceNumber = 1
    found.SeriesDescription = f"evoseg {by.algorithm}"[:_LONGEST]
    found.SeriesDate, found.SeriesTime = found.InstanceCreationDate, found.InstanceCreationTime = origin.moment
    found.OperatorsName = ""
    found.PositionReferenceIndicator = header.get("PositionReferenceIndicator", "")
    found.Manufacturer = "evoseg"
    found.ManufacturerModelName = by.algorithm[:_LONGEST]
    found.DeviceSerialNumber = by.weights_sha256[:_LONGEST]
    found.SoftwareVersions = versions("evoseg")["evoseg"] or "unknown"
    return found


def _contours(mask: NDArray[np.bool_], planes: Sequence[Plane]) -> Iterator[Dataset]:
    """The outlines of `mask` (planes, rows, columns), in millimetres."""
    for k in map(int, np.flatnonzero(mask.any(axis=(1, 2)))):
        for polygon in outlines(mask[k]):
            homogeneous = np.column_stack([polygon, np.ones(len(polygon))])
            points = (homogeneous @ planes[k].affine.T)[:, :3]
            yield _item(
                ContourImageSequence=[_reference(planes[k])],
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(points),
                # A tenth of a micrometre, and no more than the 16 characters of a decimal string.
                ContourData=[f"{mm:.4f}" for mm in points.ravel() + 0.0],
            )


def _roi(number: int, segment: Segment, contours: Iterable[Dataset]) -> Dataset:
    found = _item(ROIDisplayColor=list(segment.rgb), ReferencedROINumber=number)
    if items := list(contours):
        found.ContourSequence = items
    return found


def _observation(number: int, segment: Segment) -> Dataset:
    is_organ = segment.category == ANATOMICAL_STRUCTURE
    return _item(
        ObservationNumber=number,
        ReferencedROINumber=number,
        ROIObservationLabel=segment.name[:_SHORTEST],
        RTROIInterpretedType="ORGAN" if is_organ else "",
        ROIInterpreter="",
        RTROIIdentificationCodeSequence=[_code(segment.type)],
    )


def _code(code: Code) -> Dataset:
    return _item(CodeValue=code.value, CodingSchemeDesignator=code.scheme, CodeMeaning=code.meaning)


def _reference(plane: Plane) -> Dataset:
    header = plane.instance
    item = _item(ReferencedSOPClassUID=header.SOPClassUID, ReferencedSOPInstanceUID=header.SOPInstanceUID)
    if plane.frame is not None:
        item.ReferencedFrameNumber = plane.frame
    return item


def _item(**attributes: object) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item
