"""The mean of several trainings' weights, entry by entry: of runs that go on from one another it is steadier than each.

    python tests/benchmarks/mean_weights.py A/model.pt B/model.pt ... -o OUT/model.pt

Whole numbers (BatchNorm's counts) are the last file's. Izmailov et al., Averaging weights leads to wider optima and
better generalization (UAI 2018).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+", type=Path, help="model.pt, or a checkpoint.pt, whose network is taken")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    loaded = (torch.load(path, map_location="cpu", weights_only=True) for path in given.weights)
    states = [state.get("network", state) for state in loaded]
    mean = {
        name: torch.stack([state[name].float() for state in states]).mean(dim=0).half()
        if last.is_floating_point()
        else last
        for name, last in states[-1].items()
    }
    given.output.parent.mkdir(parents=True, exist_ok=True)
    torch.save(mean, given.output)


if __name__ == "__main__":
    main()
