"""What several folders of tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; the test is skipped where it is absent."""
    folder = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared data are not here")
    return folder.resolve()


@pytest.fixture
def write_series() -> Callable[..., list[Path]]:
    """A writer of small DICOM CT series: see `_write_series`."""
    return _write_series


def _write_series(
    folder: Path,
    stack: NDArray,
    *,
    positions: Sequence[Sequence[float]] | None = None,
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    series: str = "1.2.826.0.1.3680043.8.498.1",
    **tags: Any,
) -> list[Path]:
    """Write `stack` (slices, rows, columns) of int16 as one series, a file a slice, 2 mm apart along z by default.

    tags: further attributes by keyword; None deletes one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k, pixels in enumerate(stack):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series, str(k), str(folder)])
        dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        dataset.SeriesInstanceUID, dataset.SeriesNumber, dataset.Modality = series, 3, "CT"
        dataset.ImageType, dataset.InstanceNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], k + 1
        dataset.Rows, dataset.Columns = pixels.shape[:2]
        dataset.PixelSpacing = [0.5, 0.75]
        dataset.ImagePositionPatient = list(positions[k]) if positions is not None else [-10.0, 20.0, 5.0 + 2 * k]
        dataset.ImageOrientationPatient = list(orientation)
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
        dataset.HighBit, dataset.PixelRepresentation = 8 * pixels.itemsize - 1, int(pixels.dtype.kind == "i")
        dataset.PixelData = pixels.tobytes()
        for keyword, value in tags.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        paths.append(folder / f"slice_{k:03d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths
