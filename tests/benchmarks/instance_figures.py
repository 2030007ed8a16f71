"""The figures of an instance bundle's model card: the test part by class, and the first network minus each other.

    python -m monai.bundle run --config_file "['CONFIGS/train.yaml','CONFIGS/evaluate.yaml']" --dataset_dir DATASET \
      --output_dir RUN                          # for each network, with its overlay and --weights
    python tests/benchmarks/instance_figures.py DATASET NAME=RUN [NAME=RUN ...]

RUN holds what evaluate.yaml saves of each picture (ap50_raw.csv and so on), in the order of the test part of DATASET.
Means over pictures; intervals and paired differences: 95 %, bootstrap over pictures.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.datalist import cases
from pipeline.evaluation.statistics import describe, paired

METRICS = ("ap50", "ap75", "ap", "pq", "aji")


def scores(run: Path, metric: str, pictures: int) -> NDArray[np.float64]:
    with (run / f"{metric}_raw.csv").open(newline="") as file:
        found = np.array([float(row["mean"]) for row in csv.DictReader(file)])
    if len(found) != pictures:
        sys.exit(f"{run} has scores of {len(found)} pictures, the test part has {pictures}: score the test part")
    return found


def main(dataset: Path, runs: Mapping[str, Path]) -> None:
    classes = np.array([case.get("class") or "" for case in cases(dataset, "test", fold="split")])
    parts = {name: classes == name for name in sorted(set(classes))}
    if len(parts) > 1:
        parts["all"] = np.ones(len(classes), bool)
    found = {name: {metric: scores(run, metric, len(classes)) for metric in METRICS} for name, run in runs.items()}
    first, *others = found
    for part, chosen in parts.items():
        sys.stdout.write(f"\n{part or 'all'}, {chosen.sum()} pictures\n")
        for name, by_metric in found.items():
            for metric, values in by_metric.items():
                d = describe(values[chosen].tolist())
                sys.stdout.write(f"{name:16} {metric:5} {d.mean:.4f} ({d.low:.4f} to {d.high:.4f})\n")
        for name in others:
            for metric in METRICS:
                d = paired(found[first][metric][chosen], found[name][metric][chosen])
                sys.stdout.write(f"{first} - {name}: {metric:5} {d.mean:+.4f} ({d.low:.4f} to {d.high:.4f})\n")


if __name__ == "__main__":
    if len(sys.argv) < 3 or not all("=" in each for each in sys.argv[2:]):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), {name: Path(run) for name, _, run in (each.partition("=") for each in sys.argv[2:])})
