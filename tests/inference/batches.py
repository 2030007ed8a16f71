"""What tests of whole batches share: a tiny network, scans for it, files that are broken in twenty ways."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

BUNDLE = "kidney_ct_regression_segmentation"
AFFINE = np.diag([-2.0, 2.0, 5.0, 1.0])
SHAPE = (30, 32, 7)


def tiny_bundle(folder: Path) -> Path:
    """The kidney bundle with a network of few features on 64 x 64 pixels, untrained, the same every time."""
    import torch
    from monai.bundle import ConfigParser

    from pipeline.data.roots import bundle

    copy = Path(shutil.copytree(bundle(BUNDLE), folder / BUNDLE, ignore=shutil.ignore_patterns("models")))
    config = copy / "configs" / "inference.yaml"
    text = config.read_text().replace("[24, 48, 96, 192, 192, 24]", "[8, 8, 8, 8, 8, 8]")
    config.write_text(text.replace("size: 200", "size: 64"))
    parser = ConfigParser()
    parser.read_config(str(config))
    torch.manual_seed(0)
    network = parser.get_parsed_content("network_def")
    torch.nn.init.zeros_(network.unet.final_conv.bias)  # so that it finds something: positive as often as negative
    (copy / "models").mkdir()
    torch.save(network.state_dict(), copy / "models" / "model.pt")
    return copy


def scan(seed: int, shape: tuple[int, ...] = SHAPE) -> NDArray[np.int16]:
    """Air, and a noisy box in it."""
    array = np.full(shape, -1000, np.int16)
    array[8:20, 9:22, 1:6] = np.random.default_rng(seed).integers(-100, 300, (12, 13, 5))
    return array


def write_scans(folder: Path, number: int, shape: tuple[int, ...] = SHAPE) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(number):
        nib.save(nib.Nifti1Image(scan(k, shape), AFFINE), folder / f"scan_{k:03d}.nii.gz")


def write_broken(folder: Path, write_series: Callable[..., list[Path]]) -> dict[str, str]:
    """Twenty files and series that cannot be segmented; case id -> code."""
    nifti = {f"{kind}_{code}": code for kind, code in _write_broken_nifti(folder)}
    return nifti | _write_broken_others(folder) | _write_broken_series(folder, write_series)


def _write_broken_nifti(folder: Path) -> list[tuple[str, str]]:
    array, good = scan(0), folder / "good.nii.gz"
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), good)
    whole = good.read_bytes()
    good.unlink()
    sheared, nowhere, holes = AFFINE.copy(), AFFINE.copy(), array.astype(np.float32)
    sheared[0, 1], nowhere[0, 3], holes[3, 3, 3] = 1.5, np.nan, np.nan
    raw = {
        ("empty", "TRUNCATED"): b"",
        ("half", "TRUNCATED"): whole[: len(whole) // 2],
        ("checksum", "TRUNCATED"): whole[:-8] + bytes(4) + whole[-4:],
        ("short", "TRUNCATED"): gzip.compress(gzip.decompress(whole)[:-99]),
        ("text", "UNREADABLE"): b"this is no scan",
    }
    images = {
        ("series", "NOT_3D"): (np.stack([array, array], -1), AFFINE),
        ("holes", "NON_FINITE"): (holes, AFFINE),
        ("complex", "UNSUPPORTED_PIXELS"): (array.astype(np.complex64), AFFINE),
        ("rgb", "COLOUR"): (np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")]), AFFINE),
        ("sheared", "SHEARED"): (array, sheared),
        ("nowhere", "BAD_GEOMETRY"): (array, nowhere),
    }
    for (kind, code), content in raw.items():
        (folder / f"{kind}_{code}.nii.gz").write_bytes(content)
    for (kind, code), (voxels, affine) in images.items():
        nib.save(nib.Nifti1Image(voxels, affine), folder / f"{kind}_{code}.nii.gz")
    return [*raw, *images]


def _write_broken_others(folder: Path) -> dict[str, str]:
    (folder / "letter.dcm").write_text("Dear colleague, ...")
    (folder / "studies.zip").write_bytes(b"PK\x03\x04 cut short")
    (folder / "gone.nii.gz").symlink_to(folder / "was_moved.nii.gz")
    Image.fromarray(np.full((6, 7), 200, np.uint8)).save(folder / "photo.png")
    return {"letter": "UNREADABLE", "studies.zip": "UNREADABLE", "gone": "UNREADABLE", "photo": "WRONG_DIMENSION"}


def _write_broken_series(folder: Path, write_series: Callable[..., list[Path]]) -> dict[str, str]:
    stack = np.full((6, 8, 9), -1000, np.int16)

    def write(name: str, **given: object) -> list[Path]:
        return write_series(folder / name, stack, series=f"1.2.3.{len(name)}", **given)

    write("gap")[2].unlink()
    write("tilt", positions=[(0, 0.5 * k, 2 * k) for k in range(6)])
    write("doubled", positions=[(0, 0, 2 * min(k, 4)) for k in range(6)])
    write("unplaced", ImagePositionPatient=None)
    cut = write("cut_short")[3]
    cut.write_bytes(cut.read_bytes()[:-50])
    return {
        "gap": "SLICE_GAP",
        "tilt": "GANTRY_TILT",
        "doubled": "DUPLICATE_SLICES",
        "unplaced": "NO_GEOMETRY",
        "cut_short": "TRUNCATED",
    }
