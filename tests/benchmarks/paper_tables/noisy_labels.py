"""Networks trained on wrong labels, scored by right ones: as they are, stopped early, or with their logits smoothed.

dice    mean over the labels but the background, of those that a picture has
dice_n  of label n alone
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paper_tables.description import Cell, Line, Table
from paper_tables.writing import Load, Row, difference, grid, mean_score, protocol, rows_of
from pipeline.data.datalist import cases
from pipeline.data.pictures import PictureDataset
from pipeline.io.json_file import read_json
from pipeline.metrics.labels import evaluate_labels
from pipeline.numerics.kernels import blur, kernel_taps

REACH = 4  # standard deviations at which the Gaussian is cut
TREATED = "layers"  # what a network's name ends in if it has the layers
LEGEND = """\
Dice on the right labels of the test pictures: mean over the labels, over the pictures, then over the seeds (± their
standard deviation). A seed changes the weights, the order of the samples and the noise. "last epoch": the weights after
the last epoch; "stopped": of the epoch that is best on labels as wrong as those trained on; "smoothed": the plain
network's logits smoothed by the Gaussian whose variance is that of the layers. Differences are paired picture by
picture over the seeds that both have, with 95 % bootstrap intervals over pictures: they say nothing of other seeds.
"layers minus it": the same network with layers after its last epoch, trained on the same labels."""


@torch.no_grad()
def class_scores(cell: Cell, condition: Mapping[str, Any]) -> dict[str, Any]:
    """Dice of each test picture, null where it has none.

    condition: weights: a file in the cell's folder; sigma: of a Gaussian that smooths the logits, in pixels.
    """
    parser = cell.parser()
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(cell.folder / condition["weights"], map_location="cpu", weights_only=True))
    intensity = parser.get_parsed_content("intensity")
    listed = cases(cell.config["dataset_dir"], "test", fold=cell.config["fold"])
    data = PictureDataset(listed, classes=cell.config["keep_classes"])
    scores: dict[str, list[float | None]] = {}
    for number in range(len(data)):
        sample = data[number]
        logits = smoothed(network(intensity(sample)["image"][None]), condition.get("sigma", 0.0))
        found = picture_dice(logits.argmax(1)[0], sample["label"][0].long(), logits.shape[1])
        for name, value in found.items():
            scores.setdefault(name, []).append(value if math.isfinite(value) else None)
    return {"pictures": [case["id"] for case in listed], "scores": scores}


def smoothed(logits: Tensor, sigma: float) -> Tensor:
    """(B, C, *spatial) by a Gaussian of `sigma` pixels, mirrored at the border; as they are for 0."""
    if sigma == 0:
        return logits
    return blur(logits, kernel_taps(2 * math.ceil(REACH * sigma) + 1, sigma), "symmetric")


def picture_dice(prediction: Tensor, reference: Tensor, classes: int) -> dict[str, float]:
    """Of each label and their mean; nan where neither of the two has the label."""
    labels = range(1, classes)
    found = evaluate_labels(
        prediction.numpy().astype(np.uint8), reference.numpy().astype(np.uint8), (1.0, 1.0), labels, metrics=["dice"]
    )
    known = [score.value for score in found if not math.isnan(score.value)]
    mean = sum(known) / len(known) if known else math.nan
    return {"dice": mean} | {f"dice_{score.label}": score.value for score in found}


def robustness(table: Table, lines: Sequence[Line], load: Load, command: str) -> str:
    """The whole table; load gives what is stored of a cell."""
    parts = [f"# {table.title}", f"Made by `{command}`.", protocol(table, lines, load), LEGEND]
    for dataset in dict.fromkeys(line.dataset for line in lines):
        chosen = [line for line in lines if line.dataset == dataset]
        described = label_names(chosen[0].cells[0])
        rows = {line.network: rows_of(line, table.shown[line.network], load) for line in chosen}
        head = ["trained on", "network", "weights", "seeds", "Dice", *described.values()]
        head += [f"{table.named(table.reference)} minus it", "layers minus it"]
        written = [_cells(table, row, rows, list(described)) for group in rows.values() for row in group]
        parts += [f"## {table.datasets[dataset]['title']}", grid(head, written)]
    return "\n\n".join(parts) + "\n"


def label_names(cell: Cell) -> dict[str, str]:
    """dice_n -> the name of label n."""
    described = read_json(Path(cell.config["dataset_dir"]) / "dataset.json")["labels"]
    return {f"dice_{n}": described[str(n)] for n in range(1, cell.config["class_count"])}


def _cells(table: Table, row: Row, rows: Mapping[str, Sequence[Row]], metrics: Sequence[str]) -> list[str]:
    described, seeds = table.networks[row.line.network], sorted(row.stored)
    start = [described["labels"], described["title"], row.condition]
    if not seeds:
        return [*start, "not run yet", *["–"] * (len(metrics) + 3)]
    means = [mean_score(row.scores(metric, seeds)) for metric in ("dice", *metrics)]
    reference = _first(rows[table.reference], table.against)
    treated = _first(rows.get(f"{row.line.network.rpartition('_')[0]}_{TREATED}", []), table.against)
    return [*start, ", ".join(map(str, seeds)), *means, _minus(reference, row), _minus(treated, row)]


def _first(rows: Sequence[Row], condition: str | None) -> Row | None:
    return next((row for row in rows if row.condition == condition), None)


def _minus(other: Row | None, row: Row) -> str:
    common = sorted(set(row.stored) & set(other.stored)) if other is not None and other is not row else []
    if other is None or not common:
        return "–"
    found = difference(other, row, "dice", common)
    return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
