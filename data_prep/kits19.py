"""KiTS19 as its repository lays it out: case_NNNNN/imaging.nii.gz and case_NNNNN/segmentation.nii.gz.

SOURCE is the repository's `data` folder or the repository itself. Labels: 1 kidney, 2 tumour. The cases from 00210 on
are the challenge's test set, whose segmentations it did not publish: those without one are left out, which is logged.
Reference: Heller et al., The KiTS19 Challenge Data, arXiv 1904.00445.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from data_prep.layout import Dataset, Scan
from pipeline.errors import InputError

logger = logging.getLogger(__name__)

LABELS = {1: "kidney", 2: "tumour"}
FIRST_TEST_CASE = 210


def find(source: Path) -> Dataset:
    """Every case folder of `source`; InputError when there is none."""
    root = source / "data" if (source / "data").is_dir() else source
    folders = sorted(path for path in root.iterdir() if path.is_dir() and re.fullmatch(r"case_\d{5}", path.name))
    if not folders:
        raise InputError(f"{source} holds no folder case_NNNNN: name the `data` folder of the KiTS19 repository")
    scans = [Scan(path.name, (path / "imaging.nii.gz",), path / "segmentation.nii.gz") for path in folders]
    public = tuple(scan for scan in scans if not _is_unlabelled_test_case(scan))
    if len(public) < len(scans):
        logger.info("Cases of the official test set, left out for want of a segmentation: %d", len(scans) - len(public))
    return Dataset(name="KiTS19", root=source, channels=("CT",), labels=LABELS, scans=public)


def _is_unlabelled_test_case(scan: Scan) -> bool:
    return int(scan.id.removeprefix("case_")) >= FIRST_TEST_CASE and not scan.label.exists()
