"""The figures of an instance bundle's model card: the test part in parts, and the first network minus each other.

    python -m monai.bundle run --config_file "['CONFIGS/train.yaml','CONFIGS/evaluate.yaml']" --dataset_dir DATASET \
      --output_dir RUN                          # for each network, with its overlay and --weights
    python tests/benchmarks/instance_figures.py DATASET NAME=RUN [NAME=RUN ...]
    python tests/benchmarks/instance_figures.py DATASET NAME=RUN [NAME=RUN ...] --by subset   # test A and test B

RUN holds what evaluate.yaml saves of each picture (ap50_raw.csv and so on), in the order of the test part of DATASET.
Means over pictures; intervals and paired differences: 95 %, bootstrap over pictures.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.datalist import cases
from pipeline.evaluation.statistics import describe, paired


def scores(run: Path, metric: str, pictures: int) -> NDArray[np.float64]:
    with (run / f"{metric}_raw.csv").open(newline="") as file:
        found = np.array([float(row["mean"]) for row in csv.DictReader(file)])
    if len(found) != pictures:
        sys.exit(f"{run} has scores of {len(found)} pictures, the test part has {pictures}: score the test part")
    return found


def named(part: str | list[int]) -> str:
    """A size as 256 x 320."""
    return part if isinstance(part, str) else " x ".join(map(str, part))


def main(dataset: Path, runs: Mapping[str, Path], by: str) -> None:
    keys = np.array([named(case.get(by) or "") for case in cases(dataset, "test", fold="split")])
    parts = {name: keys == name for name in sorted(set(keys))}
    if len(parts) > 1:
        parts["all"] = np.ones(len(keys), bool)
    first, *others = runs
    metrics = sorted(file.name.removesuffix("_raw.csv") for file in runs[first].glob("*_raw.csv"))
    if not metrics:
        sys.exit(f"{runs[first]} holds no *_raw.csv: run evaluate.yaml with --output_dir {runs[first]} first")
    found = {name: {metric: scores(run, metric, len(keys)) for metric in metrics} for name, run in runs.items()}
    for part, chosen in parts.items():
        sys.stdout.write(f"\n{part or 'all'}, {chosen.sum()} pictures\n")
        for name, by_metric in found.items():
            for metric, values in by_metric.items():
                d = describe(values[chosen].tolist())
                sys.stdout.write(f"{name:16} {metric:11} {d.mean:.4f} ({d.low:.4f} to {d.high:.4f})\n")
        for name in others:
            for metric in metrics:
                d = paired(found[first][metric][chosen], found[name][metric][chosen])
                sys.stdout.write(f"{first} - {name}: {metric:11} {d.mean:+.4f} ({d.low:.4f} to {d.high:.4f})\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    kinds = ["class", "subset", "source_shape"]
    parser.add_argument("--by", default=kinds[0], choices=kinds, help="what parts the test pictures")
    given = parser.parse_args()
    if not all("=" in each for each in given.runs):
        parser.error("each RUN must have its name before it: NAME=RUN")
    main(given.dataset, {name: Path(run) for name, _, run in (each.partition("=") for each in given.runs)}, given.by)
