"""CPU seconds of what surrounds the network: resampling, export, .nii.gz, DICOM series, beside their rivals.

    python tests/benchmarks/clinical_io.py [--rival PYTHON] [--runs 3] [--only TASK...] [--md FILE]

PYTHON has nnunetv2, in an environment of its own (it takes another torch than ours); without it nnU-Net is left out.
Each run is a process of its own that makes its input, ours and the rivals' in turn; the median and the least of the
process CPU seconds of the work alone, children included, one thread. Memory is the growth of the process's peak over
what it holds with the input made. The scan: int16, 150 slices of 512 x 512, 0.78 x 0.78 x 3 mm, smooth tissue with
noise of 12 HU, in air; its mask: two ellipsoids.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

SHAPE, SPACING = (150, 512, 512), (3.0, 0.78, 0.78)  # z, y, x
GRID = (450, 399, 399)  # of 1 mm
CLASSES = 4
Made = Callable[[], object]  # the work that is timed


def scan() -> np.ndarray:
    draw = np.random.default_rng(0)
    z, y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in SHAPE)
    body = (y[:, None] / 0.6) ** 2 + (x / 0.85) ** 2 < 1
    tissue = 40 + 60 * np.sin(9 * x) * np.cos(7 * y[:, None]) + 30 * np.sin(5 * z)[:, None, None]
    noise = draw.normal(0, 12, (10, *SHAPE[1:])).astype(np.float32)
    return np.where(body, tissue + np.tile(noise, (15, 1, 1)), -1000).astype(np.int16)


def mask() -> np.ndarray:
    z, y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in SHAPE)
    sides = [(z[:, None, None] / 0.5) ** 2 + (y[:, None] / 0.2) ** 2 + ((x - c) / 0.15) ** 2 < 1 for c in (-0.4, 0.4)]
    return (sides[0] + 2 * sides[1]).astype(np.uint8)


def logits() -> np.ndarray:
    draw = np.random.default_rng(0)
    z, y, x = (np.linspace(0, 1, n, dtype=np.float32) for n in GRID)
    phases = draw.uniform(0, 6, (CLASSES, 3)).astype(np.float32)
    waves = [np.sin(20 * z + a)[:, None, None] * np.sin(25 * y + b)[:, None] * np.sin(22 * x + c) for a, b, c in phases]
    return np.stack(waves)


def affine() -> np.ndarray:
    return np.diag([*SPACING[::-1], 1.0])


# Each takes a folder with what `prepare` put there and returns the work.
def resample_ours(_: Path) -> Made:
    import scipy.ndimage  # noqa: F401  what resize would import in its first call

    from pipeline.io.resample import resize

    image = scan().astype(np.float32)
    return lambda: resize(image, GRID, (0, 1, 2), order=3)


def resample_scipy(_: Path) -> Made:
    from scipy.ndimage import zoom

    image = scan().astype(np.float32)
    factors = [n / m for n, m in zip(GRID, SHAPE, strict=True)]
    return lambda: zoom(image, factors, order=3, mode="nearest", grid_mode=True)


def resample_nnunet(_: Path) -> Made:
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape as resample

    image, kind = scan().astype(np.float32)[None], {"is_seg": False, "order": 3, "order_z": 0}
    return lambda: resample(image, GRID, SPACING, (1, 1, 1), force_separate_z=None, **kind)


def export_ours(_: Path) -> Made:
    import torch

    from pipeline.inference.export import label_volume
    from pipeline.inference.patches import VolumeGrid
    from pipeline.io.volume import Volume

    found = torch.from_numpy(np.ascontiguousarray(logits().transpose(0, 3, 2, 1)))  # x, y, z, as a network gives them
    image = Volume(np.zeros(SHAPE, np.int16).T, affine())
    grid = VolumeGrid(SHAPE[::-1], SPACING[::-1], (1, 1, 1))
    return lambda: label_volume(
        image, (((slice(None), slice(None), slice(s.start, s.stop)), grid.to_volume(found, s)) for s in grid.slabs())
    )


def export_nnunet(_: Path) -> Made:
    import torch
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape as resample

    found, kind = logits(), {"is_seg": False, "order": 1, "order_z": 0}

    def work() -> object:  # as convert_predicted_logits_to_segmentation_with_correct_shape does it
        back = resample(found, SHAPE, (1, 1, 1), SPACING, force_separate_z=None, **kind)
        return torch.from_numpy(back).argmax(0).to(torch.uint8).numpy()

    return work


def write_ours(array: np.ndarray, folder: Path) -> Made:
    from pipeline.io.nifti import write_nifti
    from pipeline.io.volume import Volume

    volume = Volume(array.T, affine())
    return lambda: write_nifti(folder / "ours.nii.gz", volume)


def write_nibabel(array: np.ndarray, folder: Path) -> Made:
    import nibabel as nib

    return lambda: nib.save(nib.Nifti1Image(array.T, affine()), folder / "theirs.nii.gz")


def read_ours(_: np.ndarray, folder: Path) -> Made:
    from pipeline.io.nifti import read_nifti

    return lambda: read_nifti(folder / "scan.nii.gz")


def read_nibabel(_: np.ndarray, folder: Path) -> Made:
    import nibabel as nib

    return lambda: np.asanyarray(nib.load(folder / "scan.nii.gz").dataobj)


def dicom_ours(folder: Path) -> Made:
    from pipeline.io.discover import find_cases, read_case

    return lambda: read_case(find_cases(folder / "series")[0])


def dicom_monai(reader: str, folder: Path) -> Made:
    from monai.transforms import LoadImage

    load = LoadImage(reader=reader)
    return lambda: load(str(folder / "series"))


JOBS: dict[str, dict[str, Callable[[Path], Made]]] = {
    "resample": {"ours, cubic": resample_ours, "scipy, cubic": resample_scipy, "nnU-Net, default": resample_nnunet},
    "export": {"ours": export_ours, "nnU-Net, default": export_nnunet},
    "write a CT": {
        "ours": lambda folder: write_ours(scan(), folder),
        "nibabel": lambda folder: write_nibabel(scan(), folder),
    },
    "write a mask": {
        "ours": lambda folder: write_ours(mask(), folder),
        "nibabel": lambda folder: write_nibabel(mask(), folder),
    },
    "read a CT": {
        "ours": lambda folder: read_ours(scan(), folder),
        "nibabel": lambda folder: read_nibabel(scan(), folder),
    },
    "DICOM series": {
        "ours": dicom_ours,
        "MONAI, ITKReader": lambda folder: dicom_monai("ITKReader", folder),
        "MONAI, PydicomReader": lambda folder: dicom_monai("PydicomReader", folder),
    },
}
LONG = ("resample", "export")
# How many times less CPU ours must take than each rival.
BARS = {
    ("resample", "scipy, cubic"): 10, ("resample", "nnU-Net, default"): 4, ("export", "nnU-Net, default"): 10,
    ("write a CT", "nibabel"): 2.5, ("write a mask", "nibabel"): 9,
    ("DICOM series", "MONAI, ITKReader"): 4, ("DICOM series", "MONAI, PydicomReader"): 4,
}  # fmt: skip


def cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def run_job(task: str, name: str, folder: Path) -> None:
    work = JOBS[task][name](folder)
    if task not in LONG:
        work()  # what is imported when it is first needed
    held, start = peak_mb(), cpu_seconds()
    work()
    sys.stdout.write(json.dumps([cpu_seconds() - start, peak_mb() - held]) + "\n")


def prepare(folder: Path) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    stack = scan()
    write_nibabel(stack, folder)()
    (folder / "theirs.nii.gz").rename(folder / "scan.nii.gz")
    (folder / "series").mkdir()
    series, frame, study = generate_uid(), generate_uid(), generate_uid()
    for k, pixels in enumerate(stack):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        slice_ = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        slice_.SOPClassUID, slice_.SOPInstanceUID, slice_.Modality = (
            CTImageStorage,
            meta.MediaStorageSOPInstanceUID,
            "CT",
        )
        slice_.SeriesInstanceUID, slice_.FrameOfReferenceUID, slice_.StudyInstanceUID = series, frame, study
        slice_.ImageType, slice_.InstanceNumber, slice_.SeriesNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], k + 1, 1
        slice_.Rows, slice_.Columns, slice_.PixelSpacing = *pixels.shape, list(SPACING[1:])
        slice_.ImagePositionPatient, slice_.ImageOrientationPatient = [0, 0, SPACING[0] * k], [1, 0, 0, 0, 1, 0]
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 16, 15, 1
        slice_.RescaleSlope, slice_.RescaleIntercept, slice_.PixelData = 1, 0, pixels.tobytes()
        slice_.save_as(folder / "series" / f"{k:03d}.dcm", enforce_file_format=True)


def measure(task: str, folder: Path, runs: int, rival: str | None) -> dict[str, list[list[float]]]:
    """[CPU s, MB] of each run by name, the names in turn."""
    names = [name for name in JOBS[task] if rival or not name.startswith("nnU-Net")]
    found: dict[str, list[list[float]]] = {name: [] for name in names}
    one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    for _ in range(runs):
        for name in names:
            python = rival if rival and name.startswith("nnU-Net") else sys.executable
            command = [python, __file__, "--job", task, name, str(folder)]
            environment = {**os.environ, **one_thread, "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
            ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            found[name].append(json.loads(ran.stdout.splitlines()[-1]))
    return found


def table(task: str, found: dict[str, list[list[float]]]) -> list[str]:
    medians = {name: statistics.median(seconds for seconds, _ in runs) for name, runs in found.items()}
    ours = next(iter(medians.values()))
    lines = []
    for name, runs in found.items():
        least, memory = min(seconds for seconds, _ in runs), max(mb for _, mb in runs)
        times = "" if name.startswith("ours") else f"{medians[name] / ours:.1f}"
        bar = BARS.get((task, name), "")
        lines.append(f"| {task} | {name} | {medians[name]:.3f} | {least:.3f} | {memory:.0f} | {times} | {bar} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="see the module's docstring")
    parser.add_argument("--rival")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=list(JOBS))
    parser.add_argument("--md", type=Path)
    parser.add_argument("--job", nargs=3)
    asked = parser.parse_args()
    if asked.job:
        run_job(asked.job[0], asked.job[1], Path(asked.job[2]))
        return
    lines = ["| | | CPU s, median | least | memory MB | times ours | at least |", "|---|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for task in asked.only:
            rows = table(task, measure(task, Path(folder), asked.runs, asked.rival))
            sys.stdout.write("\n".join(rows) + "\n")
            sys.stdout.flush()
            lines += rows
    if asked.md:
        asked.md.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
