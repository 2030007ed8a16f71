"""The figures of a picture bundle's model card: the test part, segmented and scored as a user does it.

    python tests/benchmarks/picture_figures.py BUNDLE DATASET OUT [WEIGHTS]

DATASET was made by `evoseg prepare NAME SOURCE -o DATASET` without --size: pictures and masks have their own pixels.
OUT keeps the masks (OUT/masks) and the scores (OUT/scores). WEIGHTS: a model.pt other than the bundle's own.

The first label is scored. Intervals: 95 %, bootstrap over pictures. Pictures whose reference is empty have no Dice:
they are reported apart, as the share with any pixel and the median false area. Where the bundle keeps objects
star-shaped, the rays that leave a mask are counted by numerics.star.rays_violated, which knows nothing of how it was
made.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from pipeline.evaluation.statistics import describe
from pipeline.inference.records import CASES_FILE
from pipeline.io.image2d import read_image
from pipeline.numerics.star import rays_violated

EVOSEG = Path(__file__).resolve().parents[2] / "evoseg.py"
METRICS = ("dice", "iou", "hd95", "assd")


def run(*arguments: str | Path) -> None:
    """One of evoseg's commands. CalledProcessError where it could not do its work."""
    subprocess.run([sys.executable, EVOSEG, *map(str, arguments), "--quiet"], check=True)


def test_part(dataset: Path, out: Path) -> dict[str, str]:
    """Links the test part's pictures and masks below OUT; class of each case, '' where the data name none."""
    classes = {}
    for folder in ("images", "references"):
        shutil.rmtree(out / folder, ignore_errors=True)
        (out / folder).mkdir(parents=True)
    for case in json.loads((dataset / "dataset.json").read_text())["cases"]:
        if case.get("split") == "test":
            for folder, key in (("images", "image"), ("references", "label")):
                path = dataset / case[key]
                (out / folder / path.name).symlink_to(path.resolve())
            classes[Path(case["image"]).stem] = case.get("class") or ""
    return classes


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def say(name: str, scores: Iterable[float]) -> None:
    d = describe(list(scores))
    sys.stdout.write(f"{name:28} {d.mean:9.4f}  [{d.low:.4f}, {d.high:.4f}]  median {d.median:.4f}  n {d.n}\n")


def scores(out: Path, classes: dict[str, str]) -> None:
    """Mean, interval and median of each metric over the pictures that have an object, whole and by class."""
    found = rows(out / "scores" / "per_case.csv")
    label = found[0]["label"]
    scored = [row for row in found if row["label"] == label and row["status"] not in ("false_alarm", "both_empty")]
    for metric in METRICS:
        of = {row["case"]: float(row["value"]) for row in scored if row["metric"] == metric}
        say(metric, of.values())
        for name in sorted({classes[case] for case in of} - {""}):
            say(f"  {name}", (value for case, value in of.items() if classes[case] == name))
    missed = [row["case"] for row in scored if row["metric"] == "dice" and row["status"] == "missed"]
    sys.stdout.write(f"missed altogether: {len(missed)}\n")


def both(reference: np.ndarray, mask: np.ndarray) -> float:
    """The mean Dice of object and background, which the paper on continuous U-Nets calls Dice."""
    return float(
        np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in ((reference, mask), (~reference, ~mask))])
    )


def masks(out: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Case, reference and delivered mask of each picture."""
    for path in sorted((out / "references").iterdir()):
        yield path.stem, read_image(path).array > 0, read_image(out / "masks" / path.name).array > 0


def look_at_masks(out: Path) -> None:
    """What the scores do not say: the paper's Dice, pictures without an object, and stars."""
    centers = {
        row["id"]: [[float(row["center_y"]), float(row["center_x"])]]
        for row in rows(out / "masks" / CASES_FILE)
        if row.get("center_x")
    }
    means, false_areas, violated = [], [], {}
    for case, reference, mask in masks(out):
        if reference.any():
            means.append(both(reference, mask))
        else:
            false_areas.append(int(mask.sum()))
        if case in centers and mask.any():
            violated[case] = rays_violated(torch.from_numpy(mask), torch.tensor(centers[case]))
    say("dice of both", means)
    if false_areas:
        some = [area for area in false_areas if area]
        sys.stdout.write(
            f"no object in {len(false_areas)} pictures: {len(some)} got some pixels; median false area of all "
            f"{np.median(false_areas):.0f}, of these {np.median(some) if some else 0:.0f}\n"
        )
    if centers:
        bad = sum(share > 0 for share in violated.values())
        sys.stdout.write(f"masks that are no star about their centre: {bad} of {len(violated)}\n")


def main() -> None:
    if len(sys.argv) not in (4, 5):
        raise SystemExit(__doc__)
    bundle, dataset, out = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    classes = test_part(dataset, out)
    if len(sys.argv) == 5:
        shutil.copytree(bundle, out / bundle.name, dirs_exist_ok=True)
        (out / bundle.name / "models").mkdir(exist_ok=True)
        shutil.copy(sys.argv[4], out / bundle.name / "models" / "model.pt")
        bundle = out / bundle.name
    run("segment", out / "images", "-o", out / "masks", "--bundle", bundle, "--overwrite")
    run("evaluate", out / "masks", out / "references", "-o", out / "scores")
    scores(out, classes)
    look_at_masks(out)


if __name__ == "__main__":
    main()
