"""What evaluate.yaml prints for the shipped weights, beside what the bundles document (eval_metrics of metadata.json).

    python tests/integrations/scores.py DATA [BUNDLE...]

DATA holds busi, dsb2018, ecssd, glas and isic2018 as `evoseg prepare` makes them without --size, wbc with --size 128,
and btcv as the cards of the kidney bundles say; a dataset that is not there is left out. Lines of bundles that are not
named stay as they were.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.integrations.results import record, recorded
from tests.integrations.tried import ROOT, released

Runs = dict[str, dict[str, str]]  # options -> {documented name: printed name}
LESION: Runs = {"": {"dice_lesion": "dice", "dice_two_classes": "dice_two_classes", "iou_lesion": "iou"}}
NUCLEI: Runs = {"": {"dice_nuclei": "dice", "dice_two_classes": "dice_two_classes", "iou_nuclei": "iou"}}
CELLS: Runs = {"": {"dice_mean": "dice", "dice_cytoplasm": "dice class0", "dice_nucleus": "dice class1"}}
SALIENT: Runs = {"": {"dice_salient": "dice", "iou_salient": "iou", "iou_pooled": "iou_pooled"}}
SCANS: Runs = {"": {"dice_training_scans": "dice", "iou_pooled_training_scans": "iou_pooled"}}
FOLD: Runs = {"--fold 0": {"dice_fold_0": "dice", "iou_pooled_fold_0": "iou_pooled"}}
OBJECTS: Runs = {"": {name: name for name in ("ap50", "ap", "pq", "aji")}}
OBJECTS |= {
    f"--classes ['{kind}']": {f"ap50_{kind.split('_')[-1]}": "ap50"} for kind in ("fluorescence_or_grey", "colour")
}
FOUND = ("object_f1", "object_dice", "ap50")
GLANDS: Runs = {f"--subset test{part}": {f"{name}_test_{part.lower()}": name for name in FOUND} for part in "AB"}
RUNS: dict[str, tuple[str, Runs]] = {
    "continuous_unet_busi_segmentation": ("busi", LESION),
    "continuous_unet_isic_segmentation": ("isic2018", LESION),
    "continuous_unet_kidney_ct_segmentation": ("btcv", FOLD),
    "continuous_unet_nuclei_segmentation": ("dsb2018", NUCLEI),
    "dvis_glands_segmentation": ("glas", GLANDS),
    "dvis_nuclei_segmentation": ("dsb2018", OBJECTS),
    "image_evolution_saliency_segmentation": ("ecssd", SALIENT),
    "inverse_evolution_wbc_segmentation": ("wbc", CELLS),
    "kidney_ct_regression_segmentation": ("btcv", SCANS),
    "kits19_contour_evolution_segmentation": ("btcv", SCANS),
    "star_shape_busi_segmentation": ("busi", LESION),
    "star_shape_isic_segmentation": ("isic2018", LESION),
}


def printed(bundle: str, dataset: Path, options: str) -> dict[str, float]:
    """What MONAI's engine says of the bundle; "dice class0" is the mean of a metric's first class alone."""
    configs = ROOT / "bundles" / bundle / "configs"
    files = f"['{configs / 'train.yaml'}','{configs / 'evaluate.yaml'}']"
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", files, "--dataset_dir", str(dataset)]
        command += ["--output_dir", out, *options.split()]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise RuntimeError(f"{bundle} {options}:\n{ran.stderr[-2000:]}")
        lines = csv.reader((Path(out) / "metrics.csv").read_text(encoding="utf-8").splitlines())
        found = {name: float(value) for name, value in lines}
        for file in Path(out).glob("*_summary.csv"):
            classes = csv.DictReader(file.read_text(encoding="utf-8").splitlines())
            found |= {f"{file.stem.removesuffix('_summary')} {row['class']}": float(row["mean"]) for row in classes}
    return found


def rows(bundle: str, data: Path) -> tuple[list[str], bool]:
    """Lines of the table, one a run, and whether every figure is the documented one to its fourth digit."""
    name, runs = RUNS[bundle]
    if not (data / name / "dataset.json").is_file():
        return [f"| {bundle} | {name} is not there | | | |"], True
    metadata = ROOT / "bundles" / bundle / "configs" / "metadata.json"
    documented, lines, agree = json.loads(metadata.read_text(encoding="utf-8"))["eval_metrics"], [], True
    for options, names in runs.items():
        start = time.monotonic()
        found = printed(bundle, data / name, options)
        given = f"{name} {options}".strip() + f", {time.monotonic() - start:.0f} s"
        said, seen = [f"{documented[key]:.4f}" for key in names], [f"{found[key]:.4f}" for key in names.values()]
        lines.append(f"| {bundle} | {given} | {', '.join(names)} | {', '.join(said)} | {', '.join(seen)} |")
        agree &= said == seen
    left = ", ".join(key for key in documented if not any(key in names for names in runs.values()))
    return lines + ([f"| {bundle} | not by evaluate.yaml | {left} | | |"] if left else []), agree


def main(data: str, *names: str) -> int:
    agree, chosen, standing = True, released(names), _standing()
    for bundle in chosen:
        standing[bundle], same = rows(bundle, Path(data))
        agree &= same
        sys.stdout.write("\n".join(standing[bundle]) + "\n")
    lines = ["| bundle | data | figures | documented | printed |", "|---|---|---|---|---|"]
    lines += [line for bundle in sorted(standing) for line in standing[bundle]]
    said = "`make test-scores`: `monai.bundle run`, train.yaml and evaluate.yaml, on the shipped weights; on the CPU:"
    record("evaluate.yaml", [said, "", *lines])
    return int(not agree)


def _standing() -> dict[str, list[str]]:
    """Bundle -> its lines of the last run."""
    lines = [line for line in recorded("evaluate.yaml") if line.split(" ")[1:2] and line.split(" ")[1] in RUNS]
    return {bundle: [line for line in lines if line.split(" ")[1] == bundle] for bundle in RUNS}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
