"""The figures of the kidney bundles' model cards.

    python tests/benchmarks/kidney_figures.py crossval PREDICTIONS DATASET    cross-validated, by patient
    python tests/benchmarks/kidney_figures.py kits19 BUNDLE SLICES            KiTS19 slices, the bundle as shipped

PREDICTIONS holds each patient's labels by the network that has not seen the patient; DATASET was made by `evoseg
prepare`.
Intervals: 95 %, bootstrap over patients. Dice and IoU of a case that is empty on one side are 0; none is empty on both.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from pipeline.evaluation.statistics import RESAMPLES, SEED, describe
from pipeline.io.nifti import read_nifti
from pipeline.io.volume import Volume
from pipeline.metrics.overlap import Overlap, contingency, overlap


def counts(prediction: np.ndarray, reference: np.ndarray) -> Overlap:
    return overlap(contingency(prediction.astype(np.uint8), reference.astype(np.uint8)), 1)


def pooled_interval(cases: list[Overlap]) -> tuple[float, float, float]:
    """IoU over the sum of all cases, and the interval of that pooled figure when cases are drawn again."""
    table = np.array([(c.shared, c.prediction, c.reference) for c in cases], float)
    drawn = np.random.default_rng(SEED).integers(0, len(table), (RESAMPLES, len(table)))
    shared, predicted, referred = np.moveaxis(table[drawn].sum(axis=1), 1, 0)
    low, high = np.percentile(shared / (predicted + referred - shared), (2.5, 97.5))
    return sum(cases, Overlap(0, 0, 0)).iou, float(low), float(high)


def line(name: str, mean: float, low: float, high: float) -> None:
    sys.stdout.write(f"{name:58} {mean:.4f}  [{low:.4f}, {high:.4f}]\n")


def crossval(predictions: Path, dataset: Path) -> None:
    """One row a patient, then: IoU pooled over the slices that hold kidney, and Dice of whole scans."""
    whole, holding = [], []
    sys.stdout.write("patient,fold,dice_whole_scan,iou_slices_with_kidney,predicted_voxels,reference_voxels\n")
    for case in json.loads((dataset / "dataset.json").read_text())["cases"]:
        reference = read_nifti(dataset / case["label"]).array > 0
        prediction = read_nifti(predictions / Path(case["image"]).name).array > 0
        kidney = reference.any(axis=(0, 1))
        whole.append(counts(prediction, reference))
        holding.append(counts(prediction[..., kidney], reference[..., kidney]))
        row = [case["patient"], case["fold"], f"{whole[-1].dice:.4f}", f"{holding[-1].iou:.4f}"]
        sys.stdout.write(",".join(map(str, [*row, whole[-1].prediction, whole[-1].reference])) + "\n")
    line("IoU pooled over the slices with kidney", *pooled_interval(holding))
    line("IoU pooled over all slices", *pooled_interval(whole))
    dice = describe([case.dice for case in whole])
    line(f"Dice of whole scans, mean of {dice.n} patients", dice.mean, dice.low, dice.high)
    sys.stdout.write(f"SD {dice.sd:.4f}, median {dice.median:.4f}\n")


def kits19(bundle: str, folder: Path) -> None:
    """Slices of KiTS19 that are not mirrored copies, pooled over slices; patients are drawn again for the interval.

    The window of these 8-bit images is unknown. Each is mapped linearly: 0 to the low end of the bundle's window, its
    99.5th percentile to the high end; nothing was chosen by looking at scores.
    """
    from PIL import Image

    from pipeline.inference.segmenter import Segmenter

    segmenter = Segmenter.from_bundle(bundle, device="cpu")
    rows = [row for row in csv.DictReader((folder / "index.csv").open()) if row["unaugmented"] == "True"]
    empty = Overlap(0, 0, 0)
    totals = {name: defaultdict(lambda: empty) for name in ("kidney", "kidney and tumour")}
    for row in rows:
        image = np.asarray(Image.open(folder / "images" / row["file"]), np.float32)
        labels = np.asarray(Image.open(folder / "labels" / row["file"]))
        hounsfield = -125 + 400 * image / max(float(np.percentile(image, 99.5)), 1.0)
        spacing = float(row["spacing_xy"])
        # rows run to Posterior, columns to Left: as an axial slice of one voxel's depth, axes (column, row)
        affine = np.diag([-spacing, -spacing, 1.0, 1.0])
        mask = segmenter(Volume(hounsfield.T[..., None], affine)).labels.array[..., 0].T
        for name, reference in (("kidney", labels == 1), ("kidney and tumour", labels > 0)):
            totals[name][row["case"]] += counts(mask, reference)
    for name, cases in totals.items():
        line(
            f"KiTS19, {len(rows)} slices of {len(cases)} patients, IoU pooled, {name}",
            *pooled_interval(list(cases.values())),
        )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["crossval", predictions, dataset]:
            crossval(Path(predictions), Path(dataset))
        case ["kits19", bundle, slices]:
            kits19(bundle, Path(slices))
        case _:
            sys.exit(__doc__)
