"""What the second stage of deep variational instance segmentation costs, and how many candidates it sees and keeps.

    python tests/benchmarks/second_stage.py --data DIR [--weights MODEL] [--size 512]

The paper's tables 5 and 6. DIR is made by `evoseg prepare dsb2018`; MODEL holds map network and head, and is the
bundle's if none is named. Multiply-adds are those of convolutions and matrix products (two operations each); those of
the head are for the mean number of candidates. Grouping multiplies next to nothing: its CPU seconds are in
tests/benchmarks/grouping.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.inference.verification import pooled, scored, suppressed
from pipeline.networks.cost import cost

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "bundles/dvis_nuclei_segmentation/configs/train.yaml"


def write(line: str) -> None:
    sys.stdout.write(f"{line}\n")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", type=Path, default=ROOT / "bundles/dvis_nuclei_segmentation/models/model.pt")
    parser.add_argument("--size", type=int, default=512, help="pixels a side for the network's multiply-adds")
    given = parser.parse_args()
    config = ConfigParser.load_config_file(str(ROOT / CONFIG))
    bundle = ConfigParser(config | {"dataset_dir": given.data, "initialize": []})
    bundle["validate::dataset::data"] = "$cases(@dataset_dir, 'test', fold=@fold)"
    network, grouping = (bundle.get_parsed_content(name) for name in ("network_def", "verified_grouping"))
    network.load_state_dict(torch.load(given.weights, map_location="cpu", weights_only=True))
    network.eval()
    counted = []
    for sample in bundle.get_parsed_content("validate::dataset"):
        outputs = network(sample["image"][None])[0]
        found = grouping.candidates(outputs[0].numpy())
        scores = network.head.scores(scored(network.head, outputs, found)).numpy()
        there = int((torch.bincount(sample["label"].long().flatten())[1:] > 0).sum())
        kept = int(suppressed(found, scores, least_score=grouping.least_score).max(initial=0))
        counted.append((there, len(found.number), kept))
    there, seen, kept = np.mean(counted, axis=0)
    write(f"a picture, mean of {len(counted)}: {there:.1f} objects, {seen:.1f} candidates, {kept:.1f} kept")
    whole = cost(network, (3, given.size, given.size)).multiply_adds
    one = pooled([np.pad(np.ones((8, 8), np.int32), 4)])
    with FlopCounterMode(display=False) as counter:
        network.head(torch.zeros(network.head.layers[0].conv.in_channels - 1, 16, 16), one)
    head = counter.get_total_flops() // 2
    write(f"network, {given.size} x {given.size}: {whole / 1e9:.2f} G multiply-adds")
    write(f"head: {head / 1e6:.2f} M a candidate, {head * seen / 1e9:.2f} G a picture")


if __name__ == "__main__":
    main()
