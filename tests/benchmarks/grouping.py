"""CPU seconds of grouping a map of 1024 x 1024 with 500 objects, and how far its partition is from iteration's.

    python tests/benchmarks/grouping.py [--runs 7]

One thread, process CPU seconds, the least of the runs. The objects lie in pairs that touch, values 2 to 6 with a spread
of 0.15. The mean shift of 1e5 values, five levels with spreads of 0.2 and 0.3, is followed point by point for the two
values on either side of each cut; the iteration keeps the order, so that if these end in two modes, all others end as
they are sorted. Bars: 30 ms, and no value apart.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from cpu_time import least_seconds
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.inference.grouping import group
from pipeline.metrics.instances import object_pairs
from pipeline.numerics.modes import mean_shift

SIZE, PER_ROW, STEP = 1024, 23, (46, 44)
LEVELS = np.array([2.0, 3.0, 4.0, 5.0, 6.5])


def scene(seed: int = 0) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The objects' numbers and a map as a good network would give it."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    objects = np.zeros((SIZE, SIZE), np.int32)
    for k in range(500):
        row, column = divmod(k, PER_ROW)
        centre_y, centre_x = STEP[0] * row + 24, STEP[1] * column + 24 - 20 * (k % 2)
        radii = draw.integers(9, 15, 2)
        near = slice(max(centre_y - 16, 0), centre_y + 17), slice(max(centre_x - 16, 0), centre_x + 17)
        disc = ((y[near] - centre_y) / radii[0]) ** 2 + ((x[near] - centre_x) / radii[1]) ** 2 < 1
        objects[near][disc & (objects[near] == 0)] = k + 1
    values = np.where(objects > 0, 2.0 + objects % 5, -0.5)
    return objects, (values + draw.normal(0, 0.15, objects.shape)).astype(np.float32)


def climbed(x: float, values: NDArray[np.float64], bandwidth: float) -> float:
    for _ in range(2000):
        weights = np.exp(-((x - values) ** 2) / (2 * (bandwidth / 3) ** 2))
        further = float(weights @ values / weights.sum())
        if abs(further - x) < 1e-10:
            break
        x = further
    return x


def apart(bandwidth: float, spread: float, n: int = 100_000) -> int:
    """Cuts whose two nearest values do not end in two modes."""
    draw = np.random.default_rng(0)
    values = np.sort(LEVELS[draw.integers(len(LEVELS), size=n)] + draw.normal(0, spread, n))
    cuts = np.flatnonzero(np.diff(mean_shift(values, bandwidth=bandwidth)))
    ends = [[climbed(values[i], values, bandwidth) for i in (k, k + 1)] for k in cuts]
    return sum(above - below < 0.5 for below, above in ends) + abs(len(cuts) - len(LEVELS) + 1)


def write(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    objects, f = scene()
    found = object_pairs(group(f), objects)
    write(f"group, {SIZE} x {SIZE}, 500 objects: {1e3 * least_seconds(lambda: group(f), runs):.1f} ms CPU (bar: 30)")
    write(f"  objects found minus there: {found.count_error}, least IoU of a pair that meets: {found.iou.min():.3f}")
    for bandwidth in (0.9, 0.4):
        for spread in (0.2, 0.3):
            wrong = apart(bandwidth, spread)
            write(f"mean shift of 1e5 values, bandwidth {bandwidth}, spread {spread}: {wrong} cuts apart (bar: 0)")


if __name__ == "__main__":
    main()
