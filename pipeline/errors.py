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


# code -> what it means, in a line; cases.csv and the documentation use these words. Codes are never renamed.
CASE_CODES: dict[str, str] = {
    "UNREADABLE": "the file cannot be opened or decoded",
    "TRUNCATED": "the file ends before its data do, or its checksum is wrong",
    "NOT_AN_IMAGE": "a DICOM object without pixels of a scan (SEG, RTSTRUCT, RTDOSE, SR, DICOMDIR, ...)",
    "UNSUPPORTED_PIXELS": "pixels of a kind that evoseg does not segment (complex, 1-bit, palette)",
    "UNSUPPORTED_SYNTAX": "a DICOM transfer syntax that no installed decoder reads",
    "MULTI_FRAME": "a DICOM object with many frames in one file (enhanced CT or MR, cine)",
    "NOT_3D": "four or more dimensions, or several volumes in one file",
    "COLOUR": "colour (RGB) where the bundle needs grey values, or the other way round",
    "NON_FINITE": "NaN or infinite voxels",
    "NO_GEOMETRY": "no affine, no spacing or no slice position: millimetres would be invented",
    "BAD_GEOMETRY": "an affine that is singular, not finite or not a grid",
    "SHEARED": "axes that are not at right angles",
    "GANTRY_TILT": "slices displaced along the gantry's tilt: a sheared grid",
    "SLICE_GAP": "a slice position is missing",
    "DUPLICATE_SLICES": "several slices at one position",
    "MIXED_ORIENTATIONS": "slices of several orientations in one series",
    "MIXED_GEOMETRY": "slices of several sizes or pixel spacings in one series",
    "TOO_FEW_SLICES": "a localizer or a single slice where a volume is needed",
    "WRONG_MODALITY": "the scan's modality is not the one that the bundle was trained on",
    "WRONG_DIMENSION": "a volume for a bundle of photographs, or a photograph for a bundle of volumes",
    "MISSING_FILE": "a file that belongs to the case is not there (an image without a label, a channel)",
    "GRID_MISMATCH": "image, label or channels of one case that lie on different grids",
    "BAD_LABELS": "a label map with values that are no label",
    "OUT_OF_MEMORY": "the case does not fit into memory",
    "WRITE_FAILED": "the result could not be written (disk full, no permission)",
    "INTERNAL": "an error of evoseg itself: please report it with the log",
}
