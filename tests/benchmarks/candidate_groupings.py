"""What each grouping of a map of nuclei is worth: alone, with the second stage, and all of them with it.

    python tests/benchmarks/candidate_groupings.py --data DIR [--part test] [--weights MODEL] [--no-mirrors]

DIR is made by `evoseg prepare dsb2018`; MODEL is the bundle's if none is named. f is the mean of four mirror images.
AP at an IoU of 0.5 and mean AP, means over pictures, by class and of all; differences are paired with the last row, the
bundle's way, with 95 % bootstrap intervals. --part stop and train are the pictures by which groupings were chosen; of
train, --pictures draws some. --zoom resizes pictures and reference: nuclei of sizes that their microscope lacks.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import Zoomd
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.evaluation.statistics import describe, paired
from pipeline.handlers.instance_metric import SCORES
from pipeline.inference.grouping import Grouping, ModeGrouping
from pipeline.inference.instances import InstanceInferer
from pipeline.inference.valleys import ValleyGrouping
from pipeline.inference.verification import CandidateGrouping, VerifiedGrouping
from pipeline.metrics.instances import object_pairs

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles/dvis_nuclei_segmentation"
ALIKE = {"min_area": 15, "inside": 1.2, "border": 1}
GROUPINGS: dict[str, Grouping] = {
    "components": ModeGrouping(bandwidth=10.0, **ALIKE),
    "modes 0.9": ModeGrouping(bandwidth=0.9, **ALIKE),
    "modes 0.4": ModeGrouping(bandwidth=0.4, **ALIKE),
    "valleys of f": ValleyGrouping(distance=0.0, certainty=1.0, depth=0.3, smoothing=0.5, **ALIKE),
    "valleys": ValleyGrouping(**ALIKE),
}
PARTS = {
    "test": "$cases(@dataset_dir, 'test', fold=@fold)",
    "stop": "$cases(@dataset_dir, 'stop', fold=@fold, stop_patients=@stop_share)",
    "train": "$cases(@dataset_dir, 'train', fold=@fold, stop_patients=@stop_share)",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--part", default="test", choices=PARTS)
    parser.add_argument("--weights", type=Path, default=BUNDLE / "models/model.pt")
    parser.add_argument("--mirrors", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--pictures", type=int, help="so many, drawn; all if not given")
    parser.add_argument("--zoom", type=float, default=1.0)
    return parser.parse_args()


def parsed(given: argparse.Namespace) -> ConfigParser:
    config = ConfigParser.load_config_file(str(BUNDLE / "configs/train.yaml"))
    bundle = ConfigParser(config | {"dataset_dir": given.data, "initialize": [], "stage": "verification"})
    bundle["validate::dataset::data"] = PARTS[given.part]
    network = bundle.get_parsed_content("network_def")
    network.load_state_dict(torch.load(given.weights, map_location="cpu", weights_only=True))
    network.eval()
    return bundle


def ways(bundle: ConfigParser) -> dict[str, Any]:
    """Name -> grouping; the last one is the bundle's."""
    head, least = bundle.get_parsed_content("network_def").head, bundle["verified_grouping::least_score"]
    found: dict[str, Any] = {name: (lambda outputs, one=one: one(outputs[:1])) for name, one in GROUPINGS.items()}
    for name, several in (*((name, [one]) for name, one in GROUPINGS.items()), ("all", list(GROUPINGS.values()))):
        candidates = CandidateGrouping(groupings=several)
        found[f"{name}, second stage"] = VerifiedGrouping(head=head, candidates=candidates, least_score=least)
    return found | {"the bundle": bundle.get_parsed_content("verified_grouping")}


@torch.no_grad()
def scored(bundle: ConfigParser, given: argparse.Namespace) -> Iterator[tuple[str, str, list[float]]]:
    """Class of the picture, name of the way, AP 0.5 and AP; picture by picture."""
    network, dataset, named = (
        bundle.get_parsed_content("network_def"),
        bundle.get_parsed_content("validate::dataset"),
        ways(bundle),
    )
    inferer = InstanceInferer(
        grouping=bundle.get_parsed_content("map_grouping"), mirror_axes=(0, 1) if given.mirrors else ()
    )
    smooth = "area" if given.zoom < 1 else "bilinear"
    zoom = Zoomd(keys=["image", "label"], zoom=given.zoom, mode=[smooth, "nearest"], keep_size=False)
    numbers = list(range(len(dataset)))
    if given.pictures:
        random.Random(0).shuffle(numbers)
    for number in numbers[: given.pictures]:
        sample = zoom(dataset[number])
        outputs = inferer(sample["image"][None], network)[0].numpy()
        reference = sample["label"][0].numpy().astype(np.int64)
        for name, grouping in named.items():
            pairs = object_pairs(grouping(outputs), reference)
            yield dataset.data[number]["class"], name, [SCORES["ap50"](pairs), SCORES["ap"](pairs)]


def main() -> None:
    given = arguments()
    found: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for kind, name, scores in scored(parsed(given), given):
        for part in (kind, "all"):
            found[part][name].append(scores)
    for part, by_name in found.items():
        names, (*_, last) = list(by_name), by_name
        sys.stdout.write(f"\n{part}, {len(by_name[last])} pictures\n")
        for name in names:
            sys.stdout.write(f"{name:26} {line(np.array(by_name[name]), np.array(by_name[last]))}\n")


def line(own: NDArray[np.float64], best: NDArray[np.float64]) -> str:
    parts = []
    for k, metric in enumerate(("AP 0.5", "AP")):
        d = paired(own[:, k], best[:, k])
        parts.append(f"{metric} {describe(own[:, k]).mean:.4f} {d.mean:+.4f} ({d.low:+.4f} to {d.high:+.4f})")
    return "   ".join(parts)


if __name__ == "__main__":
    main()
