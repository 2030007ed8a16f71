"""The figures of the contour evolution's model card, on the patients that its weights have not seen.

    python tests/benchmarks/refinement.py paired REGRESSED EVOLVED DATASET    patient by patient, two prediction folders
    python tests/benchmarks/refinement.py table DATASET RUNS                  damaged masks: initial, refined, scratch
    python tests/benchmarks/refinement.py sweep DATASET RUNS                  other distances to keep within, fold 0
    python tests/benchmarks/refinement.py solvers DATASET RUNS                other solvers and steps, no retraining

DATASET was made by `evoseg prepare`; RUNS holds a folder for each fold with that fold's model.pt; predictions are those
of whole scans by the network that has not seen the patient. IoU is pooled over the slices of a patient that hold
kidney, on the 200 x 200 grid. Intervals: 95 %, bootstrap over patients. "Refined" is what `evoseg refine` does: moves
of no more than one pixel are not made; "every move" is --keep-within-mm 0. "Scratch" is the evolution from an empty
contour: what it finds without the initial mask.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.data.roots import bundle
from pipeline.evaluation.statistics import RESAMPLES, SEED
from pipeline.evaluation.statistics import paired as paired_scores
from pipeline.inference.refine import undo_small_moves
from pipeline.io.nifti import read_nifti
from pipeline.networks.contour_evolution import EvolvedRegression
from pipeline.numerics.signed_distance import narrow_band_distance, signed_distance
from pipeline.ode.solve import Solver
from pipeline.ode.solvers import Counts

NAME = "kits19_contour_evolution_segmentation"
BATCH = 16
Mask = NDArray[np.bool_]
Damage = Callable[[Mask, NDArray, np.random.Generator], Mask]


def disc(shape: tuple[int, ...], centre: NDArray, radius: float) -> Mask:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(rows - centre[0], columns - centre[1]) < radius


def somewhere_on(mask: Mask, random: np.random.Generator) -> NDArray:
    return random.choice(np.argwhere(mask))


def half_missing(mask: Mask, image: NDArray, random: np.random.Generator) -> Mask:
    """What lies on one side of a line through the mask, of random direction."""
    centre, angle = somewhere_on(mask, random), random.uniform(0, 2 * np.pi)
    rows, columns = np.indices(mask.shape)
    return mask & ((rows - centre[0]) * np.cos(angle) + (columns - centre[1]) * np.sin(angle) < 3)


def coarse(mask: Mask, image: NDArray, random: np.random.Generator) -> Mask:
    """Voxels of 6 x 6 pixels, as of a mask brought from a coarser grid by nearest neighbour."""
    centres = [np.minimum(np.arange(n) // 6 * 6 + 3, n - 1) for n in mask.shape]
    return mask[np.ix_(*centres)]


def threshold(mask: Mask, image: NDArray, random: np.random.Generator) -> Mask:
    """What is as bright as the kidney's brighter half in a loose region around it, opened and filled."""
    region = ndimage.binary_dilation(mask, iterations=6)
    bright = region & (image > np.percentile(image[mask], 35))
    return ndimage.binary_fill_holes(ndimage.binary_opening(bright, iterations=1))


def grown(pixels: float) -> Damage:
    return lambda mask, image, random: signed_distance(mask) > -pixels


def shifted(mask: Mask, image: NDArray, random: np.random.Generator) -> Mask:
    angle = random.uniform(0, 2 * np.pi)
    return ndimage.shift(mask.astype(float), (4 * np.cos(angle), 4 * np.sin(angle)), order=1) > 0.5


def blob(mask: Mask, image: NDArray, random: np.random.Generator) -> Mask:
    return mask | disc(mask.shape, somewhere_on(ndimage.binary_dilation(mask, iterations=12), random), 9)


def bite(mask: Mask, image: NDArray, random: np.random.Generator) -> Mask:
    return mask & ~disc(mask.shape, somewhere_on(mask, random), 8)


# name: (damage, whether its kind was in training)
DAMAGES: dict[str, tuple[Damage, bool]] = {
    "none": (lambda mask, image, random: mask, True),
    "half a pixel smaller": (grown(-0.5), True),
    "eroded by 2.5 pixels": (grown(-2.5), True),
    "dilated by 3 pixels": (grown(3), True),
    "shifted by 4 pixels": (shifted, True),
    "blob of radius 9 added": (blob, True),
    "bite of radius 8": (bite, True),
    "cut along a line": (half_missing, False),
    "voxels of 6 pixels": (coarse, False),
    "threshold and morphology": (threshold, False),
}


def patients(dataset: Path, runs: Path) -> Iterator[tuple[str, EvolvedRegression, NDArray, Mask]]:
    """Name, network that has not seen it, and the axial slices with kidney: images in HU and masks, (n, X, Y)."""
    for case in json.loads((dataset / "dataset.json").read_text())["cases"]:
        image, label = (np.moveaxis(read_nifti(dataset / case[key]).array, 2, 0) for key in ("image", "label"))
        kidney = (label > 0).any(axis=(1, 2))
        yield case["patient"], network(runs / str(case["fold"]) / "model.pt"), image[kidney], label[kidney] > 0


def network(weights: Path) -> EvolvedRegression:
    parser = ConfigParser()
    parser.read_config(str(Path(bundle(NAME)) / "configs" / "inference.yaml"))
    built: EvolvedRegression = parser.get_parsed_content("network_def")
    built.load_state_dict(torch.load(weights, weights_only=True))
    return built.eval()


@torch.inference_mode()
def run(net: EvolvedRegression, image: NDArray, initial: Mask | None, counts: Counts | None = None) -> NDArray:
    """The evolved distance maps (n, X, Y); from the regressor's contour where `initial` is None."""
    scaled = torch.from_numpy(np.clip((image.astype(np.float32) - 75) / 200, -1, 1))[:, None]
    found = []
    for at in range(0, len(image), BATCH):
        x = scaled[at : at + BATCH]
        if initial is None:
            start = net.regressor(x)
        else:
            cut = net.evolution.cut_px
            start = torch.from_numpy(np.stack([narrow_band_distance(m, cut) for m in initial[at : at + BATCH]]))[
                :, None
            ]
        found.append(net.evolution(x, start, counts)[:, 0])
    return torch.cat(found).numpy()


def without_small_moves(evolved: NDArray, initial: Mask, within: float = 1.0) -> Mask:
    """As `evoseg refine` leaves contours alone that would move by no more than `within` pixels of the network."""
    levels = evolved.copy()
    for i, mask in enumerate(initial):
        undo_small_moves(levels[i : i + 1], signed_distance(mask), within)
    return levels > 0


def areas(mask: Mask, reference: Mask) -> tuple[int, int]:
    return int((mask & reference).sum()), int((mask | reference).sum())


def pooled(table: NDArray) -> NDArray:
    """(..., patients, 2) intersections and unions -> pooled IoU."""
    total = table.sum(axis=-2)
    return total[..., 0] / total[..., 1]


def draws(n: int) -> NDArray:
    return np.random.default_rng(SEED).integers(0, n, (RESAMPLES, n))


def describe(name: str, before: NDArray, after: NDArray, *others: NDArray) -> None:
    """Pooled IoU of all, the difference of the first two with its interval, and in how many patients it is positive."""
    index = draws(len(before))
    low, high = np.percentile(pooled(after[index]) - pooled(before[index]), (2.5, 97.5))
    gain = after[:, 0] / after[:, 1] - before[:, 0] / before[:, 1]
    words = [f"{pooled(each):.4f}" for each in (before, after, *others)]
    words += [f"{pooled(after) - pooled(before):+.4f} [{low:+.4f}, {high:+.4f}]"]
    words += [f"{(gain > 0).sum()} of {len(gain)}", f"{np.median(gain):+.4f}", f"{np.percentile(gain, 5):+.4f}"]
    sys.stdout.write(f"| {name} | " + " | ".join(words) + " |\n")


def paired(regressed: Path, evolved: Path, dataset: Path) -> None:
    sys.stdout.write("patient,fold,iou_regressed,iou_evolved\n")
    tables: tuple[list, list] = ([], [])
    whole: tuple[list, list] = ([], [])
    for case in json.loads((dataset / "dataset.json").read_text())["cases"]:
        reference = read_nifti(dataset / case["label"]).array > 0
        kidney, name = reference.any(axis=(0, 1)), Path(case["image"]).name
        for folder, table, dice in zip((regressed, evolved), tables, whole, strict=True):
            mask = read_nifti(folder / name).array > 0
            table.append(areas(mask[..., kidney], reference[..., kidney]))
            shared, union = areas(mask, reference)
            dice.append(2 * shared / (shared + union))
        scores = ",".join(f"{table[-1][0] / table[-1][1]:.4f}" for table in tables)
        sys.stdout.write(f"{case['patient']},{case['fold']},{scores}\n")
    sys.stdout.write("\n| | regressor | evolved | difference | better | median | 5th percentile |\n")
    describe("IoU, slices with kidney", *(np.array(table, float) for table in tables))
    overlaps = ([shared / union for shared, union in table] for table in tables)
    for name, scores in (("mean of the patients' IoU", overlaps), ("mean Dice of whole scans", whole)):
        before, after = scores
        d = paired_scores(after, before)
        sys.stdout.write(f"{name}: {np.mean(before):.4f}, {np.mean(after):.4f}, difference {d.mean:+.4f} ")
        sys.stdout.write(f"[{d.low:+.4f}, {d.high:+.4f}], higher in {d.higher}, equal in {d.equal} of {d.n}\n")


def table(dataset: Path, runs: Path) -> None:
    rows: dict[str, list[Any]] = {name: [] for name in DAMAGES}
    scratches = []
    for number, (_, net, image, true) in enumerate(patients(dataset, runs)):
        scratches.append(areas(run(net, image, np.zeros_like(true)) > 0, true))
        for name, (damage, _) in DAMAGES.items():
            random = np.random.default_rng((SEED, number))
            initial = np.stack([damage(m, i, random) for m, i in zip(true, image, strict=True)])
            evolved = run(net, image, initial)
            masks = (initial, without_small_moves(evolved, initial), evolved > 0)
            rows[name].append([areas(mask, true) for mask in masks])
    titles = ("initial mask", "initial", "refined", "every move", "scratch", "difference", "better", "median")
    sys.stdout.write(f"| {' | '.join(titles)} | 5th percentile |\n")
    for name, (_, seen) in DAMAGES.items():
        columns = np.moveaxis(np.array(rows[name], float), 1, 0)
        describe(name + ("" if seen else " (not in training)"), *columns, np.array(scratches, float))


def sweep(dataset: Path, runs: Path) -> None:
    """Pooled IoU (its median over patients) by the distance that is kept within; fold 0, every third slice."""
    distances = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0)
    sys.stdout.write(f"| initial mask | {' | '.join(map(str, distances))} |\n")
    cases = json.loads((dataset / "dataset.json").read_text())["cases"]
    seen = [case["fold"] == 0 for case in cases]
    everyone = [(n, *each) for n, each in enumerate(patients(dataset, runs)) if seen[n]]
    for name, (damage, _) in DAMAGES.items():
        rows = []
        for number, _, net, image, true in everyone:
            some, right, random = image[::3], true[::3], np.random.default_rng((SEED, number))
            initial = np.stack([damage(m, i, random) for m, i in zip(right, some, strict=True)])
            evolved = run(net, some, initial)
            rows.append([areas(without_small_moves(evolved, initial, within), right) for within in distances])
        counts = np.array(rows, float)
        medians = np.median(counts[..., 0] / counts[..., 1], axis=0)
        cells = (
            f"{iou:.3f} ({median:.3f})" for iou, median in zip(pooled(counts.swapaxes(0, 1)), medians, strict=True)
        )
        sys.stdout.write(f"| {name} | {' | '.join(cells)} |\n")


SOLVERS = [
    Solver(method="dopri5", atol=1e-4),
    Solver(method="dopri5", atol=1e-3),
    Solver(method="euler", steps=1),
    Solver(method="euler", steps=4),
    Solver(method="midpoint", steps=1),
    Solver(method="midpoint", steps=2),
    Solver(method="midpoint", steps=4),
    Solver(method="ab2", steps=4),
    Solver(method="abm2", steps=2),
    Solver(method="rk4", steps=1),
]


def solvers(dataset: Path, runs: Path) -> None:
    sys.stdout.write("| solver | evaluations a slice | pooled IoU |\n")
    everyone = list(patients(dataset, runs))
    for solver in SOLVERS:
        counts, found, batches = Counts(), [], 0
        for _, net, image, true in everyone:
            net.evolution.flow.solver = replace(solver)
            found.append(areas(run(net, image, None, counts) > 0, true))
            batches += -(-len(image) // BATCH)
        name = solver.method + (f", atol {solver.atol:g}" if solver.method == "dopri5" else f", {solver.steps} steps")
        evaluations = counts.forward / batches
        sys.stdout.write(f"| {name} | {evaluations:.1f} | {pooled(np.array(found, float)):.4f} |\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["paired", regressed, evolved, dataset]:
            paired(Path(regressed), Path(evolved), Path(dataset))
        case ["table", dataset, runs]:
            table(Path(dataset), Path(runs))
        case ["sweep", dataset, runs]:
            sweep(Path(dataset), Path(runs))
        case ["solvers", dataset, runs]:
            solvers(Path(dataset), Path(runs))
        case _:
            sys.exit(__doc__)
