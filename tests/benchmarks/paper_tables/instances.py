"""Networks that tell objects apart, scored on the test pictures at their own scale: with each grouping of one map.

ap50, ap75, ap90  TP / (TP + FP + FN) at an IoU of 0.5, 0.75, 0.9; ap: mean over 0.5, 0.55 ... 0.95
pq, aji           panoptic quality, aggregated Jaccard index (pipeline/metrics/instances.py)
object_f1         of the GlaS contest; object_dice likewise
miscounted        objects found minus objects there, without its sign
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from paper_tables.description import Cell, Line, Table
from paper_tables.writing import Load, Row, difference, grid, mean_score, protocol, rows_of, verdict
from pipeline.data.datalist import cases
from pipeline.data.pictures import PictureDataset
from pipeline.handlers.instance_metric import SCORES
from pipeline.metrics.instances import ObjectPairs, detections, object_pairs

HEAD = {"ap50": "AP 0.5", "ap75": "AP 0.75", "ap90": "AP 0.9", "ap": "AP", "pq": "PQ", "aji": "AJI"}
HEAD |= {"object_f1": "object F1", "object_dice": "object Dice", "miscounted": "miscounted"}
LEGEND = """\
Means over the test pictures at their own scale, then over the seeds (± their standard deviation). AP is TP / (TP + FP +
FN), as in the Data Science Bowl; without a number its mean over IoU 0.5 to 0.95. "miscounted": objects too many or too
few, a picture. Differences are paired picture by picture over the seeds that both have, with 95 % bootstrap intervals
over pictures: they say nothing of other seeds. Multiply-adds and CPU hours do not count the grouping."""


@torch.no_grad()
def instance_scores(cell: Cell, condition: Mapping[str, Any]) -> dict[str, Any]:
    """Scores of each test picture, null where there is none. condition: fields of the cell's grouping."""
    parser = cell.parser()
    for key, value in condition.items():
        parser[f"map_grouping::{key}"] = value
    network, grouping = parser.get_parsed_content("network").eval(), parser.get_parsed_content("map_grouping")
    network.load_state_dict(torch.load(cell.folder / "model.pt", map_location="cpu", weights_only=True))
    chosen = {"fold": cell.config["fold"], "classes": cell.config["classes"]}
    listed = cases(cell.config["dataset_dir"], "test", **chosen)
    data = PictureDataset(listed, parser.get_parsed_content("intensity"), classes=True)
    scores: dict[str, list[float | None]] = {}
    for number in range(len(data)):
        sample = data[number]
        found = grouping(network(sample["image"][None])[0].numpy())
        for name, value in picture_scores(object_pairs(found, sample["label"][0].long().numpy())).items():
            scores.setdefault(name, []).append(value if math.isfinite(value) else None)
    return {"pictures": [case["id"] for case in listed], "scores": scores}


def picture_scores(objects: ObjectPairs) -> dict[str, float]:
    """HEAD's scores of one picture; nan where neither side has an object."""
    found = {name: score(objects) for name, score in SCORES.items()}
    ap90 = detections(objects, iou=0.9).average_precision
    return found | {"ap90": ap90, "miscounted": float(abs(objects.count_error))}


def instances(table: Table, lines: Sequence[Line], load: Load, command: str) -> str:
    """The whole table; load gives what is stored of a cell."""
    parts = [f"# {table.title}", f"Made by `{command}`.", protocol(table, lines, load), LEGEND]
    for dataset in dict.fromkeys(line.dataset for line in lines):
        rows = [r for line in lines if line.dataset == dataset for r in rows_of(line, table.shown[line.network], load)]
        against = f"AP 0.5 minus {table.named(table.reference)}, {table.against}"
        head = ["trained with", "grouped with", "seeds", *HEAD.values(), against, "remark"]
        parts += [f"## {table.datasets[dataset]['title']}", grid(head, [_cells(table, row, rows) for row in rows])]
    return "\n\n".join(parts) + "\n"


def _cells(table: Table, row: Row, rows: Sequence[Row]) -> list[str]:
    start, seeds = [table.named(row.line.network), row.condition], sorted(row.stored)
    if not seeds:
        return [*start, *["–"] * (len(HEAD) + 2), "not run yet"]
    figures = [mean_score(row.scores(name, seeds)) for name in HEAD]
    reference = next((r for r in rows if (r.line.network, r.condition) == (table.reference, table.against)), None)
    common = sorted(set(seeds) & set(reference.stored)) if reference is not None and reference is not row else []
    if reference is None or not common:
        return [*start, ", ".join(map(str, seeds)), *figures, "–", ""]
    found = difference(row, reference, "ap50", common)
    said = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    return [*start, ", ".join(map(str, seeds)), *figures, said, verdict(found)]
