"""The series that labels were made from, as DICOM results must refer to it: instances, places, dates, identities."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CaseError
from pipeline.io.dicom_enhanced import frame_headers
from pipeline.io.dicom_files import sop_class_of
from pipeline.io.geometry import LPS_TO_RAS
from pipeline.io.refusals import reading
from pipeline.io.segments import Authorship
from pipeline.io.versions import versions
from pipeline.io.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

    from pipeline.io.discover import Case

_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
# Type 2 of the patient and the study: must be there in what is written, may be empty.
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_SEXES = ("M", "F", "O")
# The newest act on the source comes first: results are made from what it left.
_MOMENTS = ("Content", "Acquisition", "Series", "Study")
_UNDATED = ("19000101", "000000")  # a date is required; of a source without any this one tells that nobody knows it
_OFF_GRID = 0.3  # of a voxel: reading accepts slices that drift by a quarter


@dataclass(frozen=True, eq=False)
class Plane:
    """One slice of the source: `frame` (from 1) of `instance`, None where that is a single image.

    affine: (4, 3), pixel (column, row, 1) -> millimetres, LPS.
    """

    instance: Dataset
    frame: int | None
    affine: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DicomSource:
    """instances: headers without pixels, single images sorted along the normal; planes: in the instances' order."""

    instances: list[Dataset]
    planes: list[Plane]

    @property
    def moment(self) -> tuple[str, str]:
        """Date and time, as DICOM writes them."""
        for act in _MOMENTS:
            date, time = (str(self.instances[0].get(f"{act}{part}") or "") for part in ("Date", "Time"))
            if len(date) == 8 and date.isdigit():
                whole = time.split(".")[0]
                return date, whole if len(whole) == 6 and whole.isdigit() else _UNDATED[1]
        return _UNDATED

    @property
    def series_number(self) -> int:
        return int(self.instances[0].get("SeriesNumber") or 0)

    def identify(self, what: str, labels: NDArray, by: Authorship) -> str:
        """A UID below 2.25 that depends on the source, the labels, their author and `what` it is for, on nothing else.

        The arguments of a run count by what they change: other labels are another object, the same labels the same.
        """
        digest = hashlib.sha256(str(labels.shape).encode())
        digest.update(labels.astype(np.uint16).tobytes())
        for text in (what, repr(versions("evoseg")), repr(by), *(str(each.SOPInstanceUID) for each in self.instances)):
            digest.update(b"\0" + text.encode())
        return f"2.25.{uuid.UUID(bytes=digest.digest()[:16], version=5).int}"


def read_source(case: Case | None, path: Path) -> DicomSource:
    """The headers of `case`, whose labels go to `path`. CaseError NO_REFERENCE: no DICOM, or a UID is missing."""
    check_source(case, path)
    assert case is not None  # what check_source has seen to
    import pydicom

    headers = []
    for file in case.files:
        with reading(file):
            header = pydicom.dcmread(file, force=True, stop_before_pixels=True)
            header.SOPClassUID = sop_class_of(header)
            header.SOPInstanceUID = header.get("SOPInstanceUID") or header.file_meta.get("MediaStorageSOPInstanceUID")
        if missing := [keyword for keyword in _NEEDED if not header.get(keyword)]:
            message = f"{file} has no {', '.join(missing)}, to which {path.name} must refer"
            raise CaseError("NO_REFERENCE", f"{message}: take the original series, or --format nifti")
        headers.append(_completed(header))
    with reading(case.files[0]):
        planes = [plane for header in headers for plane in _planes(header)]
        along = np.cross(planes[0].affine[:3, 0], planes[0].affine[:3, 1])
        if all(plane.frame is None for plane in planes):  # the frames of one file keep the order that they have there
            planes.sort(key=lambda plane: float(plane.affine[:3, 2] @ along))
            headers = [plane.instance for plane in planes]
            _give_thickness(planes)
    return DicomSource(headers, planes)


def check_source(case: Case | None, path: Path) -> None:
    """Refuse (NO_REFERENCE) to write DICOM results of a `case` that is no DICOM volume."""
    if case is None or case.kind != "dicom":
        source = case.files[0] if case else "an array"
        message = f"{path.name} would refer to the slices of a DICOM series, and {source} is none"
        raise CaseError("NO_REFERENCE", f"{message}: use --format nifti for it")


def on_planes(labels: Volume, planes: Sequence[Plane], path: Path) -> NDArray:
    """The labels as (planes, rows, columns): each plane's pixels by where it lies, whatever the axes of `labels`.

    CaseError GRID_MISMATCH: `labels` and `planes` are not the same voxels.
    """
    array, to_index = labels.array, np.linalg.inv(LPS_TO_RAS @ labels.affine)
    rows, columns = int(planes[0].instance.Rows), int(planes[0].instance.Columns)
    steps = (to_index @ planes[0].affine)[:3, :2]
    column_axis, row_axis = (int(axis) for axis in np.abs(steps).argmax(axis=0))
    axes = (3 - column_axis - row_axis, row_axis, column_axis)
    if sorted(axes) != [0, 1, 2] or [array.shape[axis] for axis in axes] != [len(planes), rows, columns]:
        raise _off_grid(path, array.shape, (len(planes), rows, columns))
    # (planes, voxel, pixel): the voxel under the first pixel, the end of the first row and that of the first column
    corners = np.array([[0, columns - 1, 0], [0, 0, rows - 1], [1, 1, 1]])
    found = np.stack([(to_index @ plane.affine @ corners)[:3] for plane in planes])
    for axis, step in ((column_axis, steps[column_axis, 0]), (row_axis, steps[row_axis, 1])):
        if step < 0:
            array = np.flip(array, axis)
            found[:, axis] = array.shape[axis] - 1 - found[:, axis]
    index = np.rint(found[:, axes[0], 0]).astype(int)
    expected = np.empty_like(found)
    expected[:, column_axis], expected[:, row_axis], expected[:, axes[0]] = corners[0], corners[1], index[:, None]
    if np.abs(found - expected).max() > _OFF_GRID or sorted(index) != list(range(len(planes))):
        raise _off_grid(path, array.shape, (len(planes), rows, columns))
    return array.transpose(axes)[index]


def _off_grid(path: Path, found: tuple[int, ...], wanted: tuple[int, ...]) -> CaseError:
    message = (
        f"{path.name}: labels of {found} voxels do not lie on the {wanted} slices, rows and columns of their source"
    )
    return CaseError("GRID_MISMATCH", f"{message}: segment that series itself")


def _planes(header: Dataset) -> list[Plane]:
    if "PerFrameFunctionalGroupsSequence" not in header:
        return [Plane(header, None, _affine(header))]
    return [Plane(header, k, _affine(frame)) for k, frame in enumerate(frame_headers(header), start=1)]


def _affine(slice_header: Dataset) -> NDArray[np.float64]:
    along_row, along_column = np.array(slice_header.ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, slice_header.PixelSpacing)
    corner = np.array(slice_header.ImagePositionPatient, float)
    columns = np.stack([along_row * between_columns, along_column * between_rows, corner], axis=1)
    return np.vstack([columns, [0, 0, 1]])


def _give_thickness(planes: Sequence[Plane]) -> None:
    """The distance of the slices where they do not tell their thickness: a Segmentation must have one."""
    normal = np.cross(planes[0].affine[:3, 0], planes[0].affine[:3, 1])
    normal /= np.linalg.norm(normal)
    whole = float((planes[-1].affine[:3, 2] - planes[0].affine[:3, 2]) @ normal)  # less than the way of a tilted stack
    distance = abs(whole) / max(len(planes) - 1, 1)
    for plane in planes:
        if not plane.instance.get("SliceThickness"):
            plane.instance.SliceThickness = f"{distance:.6g}"


def _completed(header: Dataset) -> Dataset:
    """With every attribute that a result takes over, empty where the source does not have it or has no such value."""
    for keyword in _MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, "")
    if header.PatientSex not in _SEXES:
        header.PatientSex = ""
    return header
