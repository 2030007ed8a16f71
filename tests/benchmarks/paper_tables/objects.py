"""Networks with priors on whole objects, scored on the training grid: as they are, projected, or through their layer.

miou      mean of the object's and the background's intersection over union, as the paper has it
iou       the object's
star      1 where the mask is star-shaped about the centre that it was made with (an independent test of rays), else 0
near_star 1 where the true label is, about its own centre, on all but 2 % of its rays, else 0
kept      0 where a prior has emptied a mask that the network alone had not, else 1
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paper_tables.description import Cell, Line, Table
from paper_tables.writing import Load, Row, grid, mean_score, protocol, rows_of, verdict
from pipeline.data.datalist import cases
from pipeline.data.objects import LabelObjectsd
from pipeline.data.pictures import PictureDataset
from pipeline.evaluation.statistics import PairedDifference, paired
from pipeline.inference.priors import Centers, ObjectPrior, predicted_centers
from pipeline.numerics.star import rays_violated

NEAR = 0.02
OBJECTS = 3  # as in the bundles' train.yaml
LEGEND = """\
mIoU is the mean of lesion and background, IoU the lesion's; each is a mean over the test pictures with a lesion, then
over the seeds (± their standard deviation), on the training grid. "near stars": the pictures whose true lesion is
star-shaped about its centroid but for 2 % of its rays. "star-shaped": the share of the masks in which no ray to the
centre leaves the mask by more than 1.5 pixels, all pictures and seeds; "emptied": masks that a prior has emptied.
Differences are paired picture by picture over the seeds that both have, with 95 % bootstrap intervals over pictures:
they say nothing of other seeds. Conditions with a true centre or a true volume need what nobody has."""


@torch.no_grad()
def object_scores(cell: Cell, condition: Mapping[str, Any]) -> dict[str, Any]:
    """Scores of each test picture. condition: layer: the logits come through the layer that the cell was trained with,
    told the truth; centers: "predicted" or "true", about which the mask is made star-shaped; volume: "true"."""
    parser = cell.parser()
    network, intensity = parser.get_parsed_content("network_def").eval(), parser.get_parsed_content("intensity")
    network.load_state_dict(torch.load(cell.folder / "model.pt", map_location="cpu", weights_only=True))
    layered = parser.get_parsed_content("layered").eval() if condition.get("layer") else None
    known = parser.get_parsed_content("known")[cell.config["prior"]]
    listed = cases(cell.config["dataset_dir"], "test", fold=cell.config["fold"])
    data = PictureDataset(listed, LabelObjectsd("label", objects=OBJECTS))
    scores: dict[str, list[float]] = {}
    for number in range(len(data)):
        sample = data[number]
        image = intensity(sample)["image"][None]
        plain = network(image)[0, 0]
        told = {name: sample[key][None] for name, key in known.items()}
        logits = plain if layered is None else layered(image, **told)[0, 0]
        found = picture_scores(logits, plain, sample, condition)
        for name, value in found.items():
            scores.setdefault(name, []).append(value)
    return {"pictures": [case["id"] for case in listed], "scores": scores}


def picture_scores(
    logits: Tensor, plain: Tensor, sample: Mapping[str, Tensor], condition: Mapping[str, Any]
) -> dict[str, float]:
    """Scores of one picture from its logits, (H, W), those of the network alone, and what LabelObjectsd tells of it."""
    centers = _centers(sample["centers"])
    wanted = condition.get("centers")
    about = centers if wanted == "true" else {}
    count = round(float(sample["volumes"][1]))
    volumes = {1: (count, count)} if condition.get("volume") == "true" else None
    shaped = ObjectPrior(star_shaped=[1] if wanted else [])(logits[None], about, volumes)
    mask, label = shaped.labels == 1, sample["label"][0] > 0
    used = shaped.centers.get(1, centers[1] if condition.get("layer") else predicted_centers(logits))
    ious = [iou for iou in (_iou(mask, label), _iou(~mask, ~label)) if not math.isnan(iou)]
    return {
        "miou": sum(ious) / len(ious),
        "iou": _iou(mask, label),
        "star": float(rays_violated(mask, torch.from_numpy(used)) == 0 or not mask.any()),
        "near_star": float(rays_violated(label, torch.from_numpy(centers[1])) <= NEAR),
        "kept": float(bool(mask.any()) or not (plain > 0).any()),
    }


def objects(table: Table, lines: Sequence[Line], load: Load, command: str) -> str:
    """The whole table; load gives what is stored of a cell."""
    parts = [f"# {table.title}", f"Made by `{command}`.", protocol(table, lines, load), LEGEND]
    for dataset in dict.fromkeys(line.dataset for line in lines):
        rows = [
            row for line in lines if line.dataset == dataset for row in rows_of(line, table.shown[line.network], load)
        ]
        parts += [f"## {table.datasets[dataset]['title']}", grid(_head(table), list(_cells(table, rows)))]
    return "\n\n".join(parts) + "\n"


def _head(table: Table) -> list[str]:
    reference = table.named(table.reference)
    spread = ["mIoU", "IoU", "mIoU, near stars", "star-shaped", "emptied"]
    less = [f"mIoU minus {reference}, {table.against}", "near stars", f"mIoU minus {reference}, delivered alike"]
    return ["trained with", "delivered", "seeds", *spread, *less, "remark"]


def _cells(table: Table, rows: Sequence[Row]) -> Iterator[list[str]]:
    references = {row.condition: row for row in rows if row.line.network == table.reference}
    reference = references.get(table.against or "")
    for row in rows:
        seeds, start = sorted(row.stored), [table.named(row.line.network), row.condition]
        if not seeds:
            yield [*start, *["–"] * 9, "not run yet"]
            continue
        miou, near = row.scores("miou", seeds), row.scores("near_star", seeds) > 0
        stars, kept = row.scores("star", seeds), row.scores("kept", seeds)
        figures = [mean_score(each) for each in (miou, row.scores("iou", seeds), np.where(near, miou, np.nan))]
        figures += [f"{100 * stars.mean():.1f} %", str(int((1 - kept).sum()))]
        whole = _difference(row, reference)
        differences = [whole, _difference(row, reference, near[0]), _difference(row, references.get(row.condition))]
        remark = "" if whole is None else verdict(whole)
        yield [*start, ", ".join(map(str, seeds)), *figures, *map(_shown, differences), remark]


def _difference(row: Row, reference: Row | None, chosen: NDArray[np.bool_] | None = None) -> PairedDifference | None:
    """Row minus reference, of the chosen pictures and the seeds that both have; None where there is nothing to pair."""
    if reference is None or reference is row or not (common := sorted(set(row.stored) & set(reference.stored))):
        return None
    means = [each.scores("miou", common).mean(axis=0) for each in (row, reference)]
    return paired(*(mean if chosen is None else mean[chosen] for mean in means))


def _shown(difference: PairedDifference | None) -> str:
    return "–" if difference is None else f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def _centers(rows: Tensor) -> Centers:
    return {1: rows[0][~rows[0].isnan().any(dim=1)].double().numpy()}


def _iou(mask: Tensor, label: Tensor) -> float:
    union = (mask | label).sum().item()
    return (mask & label).sum().item() / union if union else math.nan
