"""The series and the author that DICOM results are tested with."""

from __future__ import annotations

from tests.io.dicom_results import by, labelled_series

__all__ = ["by", "labelled_series"]
