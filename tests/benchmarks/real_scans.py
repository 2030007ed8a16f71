"""Every file of some folders through `evoseg segment`: what became of it, and whether labels lie where scans lie.

    python tests/benchmarks/real_scans.py INPUT... --bundle NAME -o OUT

Where the labels lie is compared with nibabel's affine (NIfTI), SimpleITK's (MHA, NRRD) and highdicom's (DICOM;
SimpleITK's where highdicom asks for more than the headers hold): the corners of the grid, within 0.02 mm.
Prints how many were segmented and refused, the codes, and every comparison that failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.io.discover import Case, find_cases
from pipeline.io.table import read_table

Grid = tuple[NDArray, tuple[int, ...]]  # affine in RAS, shape
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
WITHIN_MM = 0.02


def by_nibabel(case: Case) -> Grid:
    import nibabel as nib

    image = nib.load(case.files[0])
    return image.affine, image.shape


def by_highdicom(case: Case) -> Grid:
    import highdicom as hd
    import pydicom

    slices = [pydicom.dcmread(path) for path in case.files]
    image = hd.Image.from_dataset(slices[0]).get_volume() if len(slices) == 1 else hd.get_volume_from_series(slices)
    image = image.flip_spatial(0)  # it begins at the other end of the stack, and counts slices, rows, columns
    return LPS_TO_RAS @ image.affine[:, [2, 1, 0, 3]], image.spatial_shape[::-1]


def by_simpleitk(case: Case) -> Grid:
    import SimpleITK as sitk

    names = list(map(str, case.files))
    if len(names) > 1:  # in the order of the stack
        places = {name: sitk.ReadImage(name).GetOrigin() for name in names}
        direction = sitk.ReadImage(names[0]).GetDirection()[2::3]
        names.sort(key=lambda name: float(np.dot(places[name], direction)))
    image = sitk.ReadImage(names if len(names) > 1 else names[0])
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ affine, image.GetSize()


READERS: dict[str, tuple[Callable[[Case], Grid], ...]] = {
    "nifti": (by_nibabel,),
    "metaimage": (by_simpleitk,),
    "dicom": (by_highdicom, by_simpleitk),
}


def compared(case: Case, labels: Path) -> tuple[str, bool]:
    """Which library has read the scan, and whether the labels lie there."""
    found = by_nibabel(Case(case.id, "nifti", (labels,)))
    for reader in READERS[case.kind]:
        try:
            grid = reader(case)
        except (ValueError, LookupError, RuntimeError, AttributeError) as error:  # over a header: the next one is asked
            sys.stdout.write(f"{case.id}: {reader.__name__} gives {type(error).__name__}\n")
            continue
        return reader.__name__, np.allclose(corners(*found), corners(*grid), atol=WITHIN_MM)
    return "nobody", False


def corners(affine: NDArray, shape: tuple[int, ...]) -> NDArray:
    """Where the eight corner voxels of a grid lie."""
    ends = np.array(list(product(*((0, size - 1) for size in shape))))
    return ends @ affine[:3, :3].T + affine[:3, 3]


def main() -> None:
    parser = argparse.ArgumentParser(description="see the module's docstring")
    parser.add_argument("inputs", nargs="+", type=Path)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # what pydicom says about files that are meant to be odd
    words = [*map(str, given.inputs), "-o", str(given.out), "--bundle", given.bundle, "--no-report", "-q"]
    ran = subprocess.run(
        [sys.executable, "-m", "evoseg", "segment", *words], capture_output=True, text=True, check=False
    )
    rows = {row["id"]: row for row in read_table(given.out / "cases.csv")}
    cases = [case for case in find_cases(given.inputs) if rows[case.id]["status"] == "ok"]
    asked = {case.id: compared(case, given.out / f"{case.id}.nii.gz") for case in cases}
    codes = Counter(row["code"] for row in rows.values() if row["status"] == "failed")
    lines = [
        f"exit status {ran.returncode}; written to the terminal: {len(ran.stdout + ran.stderr)} characters",
        f"{len(rows)} cases: {len(cases)} segmented, {codes.total()} refused",
        *(f"  {number} x {code}" for code, number in codes.most_common()),
        *(f"{number} compared {name}" for name, number in Counter(name for name, _ in asked.values()).items()),
        f"elsewhere than their scan: {', '.join(name for name, (_, same) in asked.items() if not same) or 'none'}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
