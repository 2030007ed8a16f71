"""A trained cell on its test pictures: as they are, with noise, or with another solver. Nothing is scored twice.

dice       of the foreground
dice_both  the mean of foreground's and background's, which the paper calls Dice
accuracy   the share of the pixels that are right
ahd_rows   what the paper's tables call AHD (pipeline/metrics/average_hausdorff.py)
ahd        the average Hausdorff distance, in pixels of the training grid; its diagonal where one of the two is empty

A run has collapsed under a condition if it calls all pixels the same in 95 % of the test pictures or more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paper_tables.description import Cell, plain
from pipeline.data.datalist import cases
from pipeline.data.pictures import PictureDataset
from pipeline.io.json_file import write_json
from pipeline.metrics.average_hausdorff import ahd_rows_cunet
from pipeline.metrics.labels import evaluate_labels
from pipeline.ode.blocks import ODEBlock
from pipeline.ode.solve import Solver

METRICS = ("dice", "dice_both", "accuracy", "ahd_rows", "ahd")
COLLAPSED = 0.95
Mask = NDArray[np.bool_]


Measure = Callable[[Cell, Mapping[str, Any]], dict[str, Any]]


def score(
    cell: Cell, result: dict[str, Any], conditions: Mapping[str, Any], measure: Measure | None = None
) -> dict[str, Any]:
    """`result` with the scores under all conditions, those that it lacks computed and stored in the cell's folder.

    conditions: name -> what `measure` knows; of `evaluate`, which it is if none is given, {"noise": standard deviation
    on 0..1, "solver": arguments of Solver}, each optional.
    """
    for name, condition in conditions.items():
        stored = result["conditions"].get(name)
        if stored is None or stored["condition"] != plain(condition):
            result["conditions"][name] = {"condition": condition} | (measure or evaluate)(cell, condition)
            write_json(cell.folder / "result.json", result)
    return result


def evaluate(cell: Cell, condition: Mapping[str, Any]) -> dict[str, Any]:
    """Scores of each test picture, null where there is none, and whether the run has collapsed."""
    listed = cases(cell.config["dataset_dir"], "test", fold=cell.config["fold"])
    scores: dict[str, list[float | None]] = {metric: [] for metric in METRICS}
    uniform = 0
    for prediction, reference in predictions(cell, listed, condition):
        uniform += prediction.all() or not prediction.any()
        for metric, value in picture_scores(prediction, reference).items():
            scores[metric].append(value if math.isfinite(value) else None)
    collapsed = bool(uniform >= COLLAPSED * len(listed))
    return {"collapsed": collapsed, "pictures": [case["id"] for case in listed], "scores": scores}


@torch.no_grad()
def predictions(cell: Cell, listed: list[dict[str, Any]], condition: Mapping[str, Any]) -> Iterator[tuple[Mask, Mask]]:
    """Prediction and reference of each picture, (H, W)."""
    parser = cell.parser()
    device = torch.device(parser.get_parsed_content("device"))
    network = parser.get_parsed_content("network_def").to(device).eval()
    network.load_state_dict(torch.load(cell.folder / "model.pt", map_location=device, weights_only=True))
    if "solver" in condition:
        for block in (part for part in network.modules() if isinstance(part, ODEBlock)):
            block.solver = Solver(**condition["solver"])
    data = PictureDataset(listed)
    for number in range(len(data)):
        sample = data[number]
        image = sample["image"] + condition.get("noise", 0.0) * noise_of(number, sample["image"].shape)
        logits = network(image[None].to(device))
        yield (logits[0, 0] > 0).cpu().numpy(), sample["label"][0].numpy() > 0


def noise_of(number: int, shape: tuple[int, ...]) -> Tensor:
    """The noise of a test picture, of variance 1: the same for all networks and, but for its strength, all levels."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(number))


def picture_scores(prediction: Mask, reference: Mask) -> dict[str, float]:
    """METRICS of one picture; nan where neither has foreground (dice, ahd)."""
    wanted = ["dice", "ahd"]
    found = {s.metric: s.value for s in evaluate_labels(prediction, reference, (1.0, 1.0), [1], metrics=wanted)}
    background = evaluate_labels(~prediction, ~reference, (1.0, 1.0), [1], metrics=["dice"])[0].value
    both = [dice for dice in (found["dice"], background) if not math.isnan(dice)]
    return {
        "dice": found["dice"],
        "dice_both": sum(both) / len(both),
        "accuracy": float((prediction == reference).mean()),
        "ahd_rows": ahd_rows_cunet(prediction, reference),
        "ahd": found["ahd"],
    }
