"""The figures of the kidney bundles' model cards.

    python tests/benchmarks/kidney_figures.py crossval PREDICTIONS DATASET    cross-validated, by patient
    python tests/benchmarks/kidney_figures.py kits19 BUNDLE SLICES            KiTS19 slices, the bundle as shipped
    python tests/benchmarks/kidney_figures.py uncertainty BUNDLE SLICES       does the uncertainty tell errors

PREDICTIONS holds each patient's labels by the network that has not seen the patient; DATASET was made by `evoseg
prepare`.
Intervals: 95 %, bootstrap over patients. Dice and IoU of a case that is empty on one side are 0; none is empty on both.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.stats import mannwhitneyu, spearmanr

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


def kits19_slices(folder: Path) -> Iterator[tuple[str, Volume, np.ndarray]]:
    """Patient, image and labels (columns, rows, 1) of the slices of KiTS19 that are not mirrored copies.

    The window of these 8-bit images is unknown. Each is mapped linearly: 0 to the low end of the bundle's window, its
    99.5th percentile to the high end; nothing was chosen by looking at scores.
    """
    from PIL import Image

    with (folder / "index.csv").open() as file:
        for row in csv.DictReader(file):
            if row["unaugmented"] == "True":
                image = np.asarray(Image.open(folder / "images" / row["file"]), np.float32)
                labels = np.asarray(Image.open(folder / "labels" / row["file"]))
                hounsfield = -125 + 400 * image / max(float(np.percentile(image, 99.5)), 1.0)
                spacing = float(row["spacing_xy"])
                # rows run to Posterior, columns to Left: an axial slice of one voxel's depth, axes (column, row)
                affine = np.diag([-spacing, -spacing, 1.0, 1.0])
                yield row["case"], Volume(hounsfield.T[..., None], affine), labels.T[..., None]


def kits19(bundle: str, folder: Path) -> None:
    """IoU pooled over slices; patients are drawn again for the interval."""
    from pipeline.inference.segmenter import Segmenter

    segmenter = Segmenter.from_bundle(bundle, device="cpu")
    empty, slices = Overlap(0, 0, 0), 0
    totals = {name: defaultdict(lambda: empty) for name in ("kidney", "kidney and tumour")}
    for patient, image, labels in kits19_slices(folder):
        mask = segmenter(image).labels.array > 0
        for name, reference in (("kidney", labels == 1), ("kidney and tumour", labels > 0)):
            totals[name][patient] += counts(mask, reference)
        slices += 1
    for name, cases in totals.items():
        line(
            f"KiTS19, {slices} slices of {len(cases)} patients, IoU pooled, {name}",
            *pooled_interval(list(cases.values())),
        )


def uncertainty(bundle: str, folder: Path) -> None:
    """Spearman's rank correlation, over slices with a contour, of 1 - IoU and what a user sees without a reference.

    doubt: the column of cases.csv. Area: the smaller, the less certain. Within slices: the chance that a voxel that is
    wrong is less certain than one that is right, of all that the file of the uncertainty has. Patients are drawn again
    for the intervals.
    """
    from pipeline.inference.segmenter import Segmenter

    segmenter = Segmenter.from_bundle(bundle, device="cpu")
    rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for patient, image, labels in kits19_slices(folder):
        found = segmenter(image, trajectory=True)
        moved = found.trajectory
        if moved is None or np.isnan(moved.doubt):
            continue
        box = tuple(slice(c, c + n) for c, n in zip(moved.corner, moved.levels.spatial_shape, strict=True))
        wrong = (found.labels.array > 0)[box] != (labels == 1)[box]
        iou = counts(found.labels.array > 0, labels == 1).iou
        told = auroc(moved.uncertainty.array[wrong], moved.uncertainty.array[~wrong])
        rows[patient].append((1 - iou, moved.doubt, -float(np.count_nonzero(found.labels.array)), told))
    patients = [np.array(each) for each in rows.values()]
    drawn = np.random.default_rng(SEED).integers(0, len(patients), (RESAMPLES, len(patients)))
    for column, name in ((1, "doubt"), (2, "a small area")):
        rho = [
            spearmanr(*np.concatenate([patients[i] for i in chosen])[:, [0, column]].T).statistic
            for chosen in (range(len(patients)), *drawn)
        ]
        number = f"{sum(map(len, patients))} slices of {len(patients)} patients"
        line(f"{number}, rank correlation of 1 - IoU with {name}", rho[0], *np.percentile(rho[1:], (2.5, 97.5)))
    within = describe([float(np.nanmean(each[:, 3])) for each in patients])
    line("a wrong voxel is less certain than a right one, mean of patients", within.mean, within.low, within.high)


def auroc(higher: np.ndarray, lower: np.ndarray) -> float:
    """The chance that a value of the first is above one of the second, half where they are equal; nan without any."""
    if not (len(higher) and len(lower)):
        return float("nan")
    return float(mannwhitneyu(higher, lower).statistic / (len(higher) * len(lower)))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["crossval", predictions, dataset]:
            crossval(Path(predictions), Path(dataset))
        case ["kits19", bundle, slices]:
            kits19(bundle, Path(slices))
        case ["uncertainty", bundle, slices]:
            uncertainty(bundle, Path(slices))
        case _:
            sys.exit(__doc__)
