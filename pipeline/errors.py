"""The two ways in which evoseg says no.

InputError is the caller's mistake (no such folder, no such bundle): nothing can start, exit status 2.
CaseError is one patient's data (a gap, a truncated file): that case is refused by a stable code, the others go on.
"""

from __future__ import annotations


class InputError(ValueError):
    """The call cannot be carried out; the message names the argument, the rule and the way out."""


class CaseError(ValueError):
    """One case cannot be read, segmented or written; `code` is a key of CASE_CODES, `message` ends with the way out."""

    def __init__(self, code: str, message: str) -> None:
        if code not in CASE_CODES:
            raise KeyError(f"{code} is not in CASE_CODES")
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type[CaseError], tuple[str, str]]:
        return CaseError, (self.code, self.message)


def root_cause(error: BaseException) -> BaseException:
    """The InputError in a chain of exceptions, else the one that began it.

    MONAI wraps what a component of a config raises in RuntimeErrors, level by level.
    """
    while error.__cause__ is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error


# code -> what it means, in a line; cases.csv and the documentation use these words. Codes are never renamed.
CASE_CODES: dict[str, str] = {
    "UNREADABLE": "the file cannot be opened or decoded",
    "TRUNCATED": "the file ends before its data do, or its checksum is wrong",
    "NOT_AN_IMAGE": "a DICOM object without pixels of a scan (SEG, RTSTRUCT, RTDOSE, SR, DICOMDIR, ...)",
    "UNSUPPORTED_PIXELS": "pixels of a kind that evoseg does not read (complex, 1-bit)",
    "UNSUPPORTED_SYNTAX": "a DICOM transfer syntax that no installed decoder reads",
    "MULTI_FRAME": "a DICOM object with many frames in one file (cine), or several enhanced ones in one series",
    "NOT_3D": "four or more dimensions, or several volumes or pictures in one file",
    "COLOUR": "colour (RGB) where grey values are needed",
    "NON_FINITE": "NaN or infinite voxels",
    "NO_GEOMETRY": "no affine, no spacing or no slice position: millimetres would be invented",
    "BAD_GEOMETRY": "positions, spacings or an affine that cannot be right, or do not make a regular grid",
    "SHEARED": "a voxel grid whose axes are not at right angles",
    "GANTRY_TILT": "slices displaced along the gantry's tilt: a sheared grid",
    "SLICE_GAP": "a slice position is missing",
    "DUPLICATE_SLICES": "several slices at one position",
    "MIXED_ORIENTATIONS": "slices of several orientations in one series",
    "MIXED_GEOMETRY": "slices of several sizes or pixel spacings in one series",
    "TOO_FEW_SLICES": "a localizer, or fewer slices than a volume needs",
    "WRONG_DIMENSION": "a volume for a bundle of pictures (X-ray, photograph), or a picture for a bundle of volumes",
    "MISSING_FILE": "a file that belongs to the case is not there (its image, its label, a channel)",
    "GRID_MISMATCH": "image, label or channels of one case that lie on different grids",
    "BAD_LABELS": "a label map with fractions, negative numbers or labels that nobody has named",
    "GREY_MASK": "a true mask with grey levels where nobody has said from which level on it is the object",
    "BAD_OBJECT": "a centre outside of the image, a volume that it cannot hold, or millimetres where it has none",
    "BAD_MAP": "a probability map with several channels or slices, or with values outside 0..1",
    "TOO_MANY_OBJECTS": "more objects than a mask of 16 bits can number",
    "STEP_LIMIT": "an adaptive solver did not arrive within its steps",
    "OUT_OF_MEMORY": "the case does not fit into memory",
    "TIMEOUT": "the case took longer than --timeout-per-case allows",
    "WORKER_LOST": "the machine or process that had the case was lost twice",
    "NO_REFERENCE": "a DICOM result of a scan that is no DICOM series, or lacks the UIDs that it must refer to",
    "PULL_FAILED": "a series that the PACS could not give whole",
    "PUSH_FAILED": "a result that the PACS did not take",
    "WRITE_FAILED": "the result could not be written (disk full, no permission)",
    "INTERNAL": "an error of evoseg itself: please report it with the log",
}
