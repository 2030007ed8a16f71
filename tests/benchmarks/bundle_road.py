"""CPU seconds from nothing to the first prediction of a bundle, and of `evoseg --help`.

    python tests/benchmarks/bundle_road.py [BUNDLE] [--runs 3]

Each run is a process of its own, one thread, its CPU seconds with its children's, imports included; the median and the
least. Bars: 12 s to the first labels of a small scan or picture on the CPU, 0.5 s for the help. How our road compares
with MONAI's once both are up: volume_road.py.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIRST = """
import sys
from pathlib import Path
import numpy as np
from pipeline.inference.segmenter import Segmenter
from pipeline.io.volume import Volume

segmenter = Segmenter.from_bundle(sys.argv[1], device="cpu")
flat = segmenter.inferer.spatial_dims == 2
shape = (128, 128, 3) if flat else (128, 128, 16)
image = Volume(np.zeros(shape, np.uint8 if flat else np.int16), np.eye(3 if flat else 4))
assert segmenter(image).labels.array.shape[:2] == shape[:2]
"""
BARS = {"first prediction": 12.0, "evoseg --help": 0.5}


def cpu_seconds(command: list[str]) -> float:
    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime

    before = used()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    return used() - before


def main() -> None:
    parser = argparse.ArgumentParser(description="see the module's docstring")
    parser.add_argument("bundle", nargs="?", default="kidney_ct_regression_segmentation")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    commands = {
        "first prediction": [sys.executable, "-c", FIRST, asked.bundle],
        "evoseg --help": [sys.executable, "-c", "from evoseg import main; main()", "--help"],
    }
    for name, command in commands.items():
        runs = [cpu_seconds(command) for _ in range(asked.runs)]
        sys.stdout.write(
            f"{name:18} {statistics.median(runs):6.2f} CPU s (least {min(runs):.2f}), bar {BARS[name]:g}\n"
        )


if __name__ == "__main__":
    main()
