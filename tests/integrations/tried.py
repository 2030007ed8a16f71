"""What the released bundles are asked for in other people's software, what evoseg answers, and how the two compare."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.inference.segmenter import Segmenter
from pipeline.io.discover import find_cases, read_case
from pipeline.io.volume import Volume

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
SCAN, GREY, COLOUR = DATA / "demo" / "trunk.nii.gz", DATA / "pictures" / "nuclei.png", DATA / "pictures" / "tissue.jpg"
HEADER = ["| bundle | asked for | size | labelled by evoseg | differ |", "|---|---|---|---|---|"]


def released(names: tuple[str, ...]) -> list[str]:
    """These bundles, or all that have weights."""
    return list(names) or [file.parents[1].name for file in sorted(ROOT.glob("bundles/*/models/model.pt"))]


def image_for(bundle: str) -> Path:
    """A real image of the repository that the bundle takes; few of them show what it was trained on."""
    described = json.loads((ROOT / "bundles" / bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    image = described["network_data_format"]["inputs"]["image"]
    if image["modality"] == "CT":
        return SCAN
    return GREY if image["num_channels"] == 1 else COLOUR


def read(file: Path) -> Volume:
    (case,) = find_cases(file)
    return read_case(case)


def evoseg_answer(bundle: str) -> NDArray[np.integer]:
    """Labels, or objects where the bundle tells them apart, on the image's own grid: (rows, columns) of a picture."""
    found = Segmenter.from_bundle(bundle, device="cpu")(read(image_for(bundle)))
    return (found.objects or found.labels).array


def row(bundle: str, theirs: NDArray[np.generic] | str) -> str:
    """A line of the table; theirs: as evoseg_answer gives them, or the last line of an error."""
    ours = evoseg_answer(bundle)
    asked = f"| {bundle} | {image_for(bundle).name} | {' x '.join(map(str, ours.shape))} |"
    if isinstance(theirs, str):
        return f"{asked} {np.count_nonzero(ours)} | FAILED: {theirs} |"
    if theirs.shape != ours.shape:
        return f"{asked} {np.count_nonzero(ours)} | FAILED: labels of {theirs.shape} |"
    return f"{asked} {np.count_nonzero(ours)} | {np.count_nonzero(theirs != ours)} |"
