"""The tables of level sets: kidneys by IoU pooled over patients, salient objects by F-beta of maps.

A patient's figures are the pixels of {phi > 0}, of the truth and of both, over the slices with kidney and over all. A
picture's map is sigmoid(phi), phi in pixels; its figures are those of `evoseg evaluate --saliency`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kidney_figures import pooled_interval
from monai.bundle import ConfigParser
from torch import Tensor, nn

from paper_tables.description import Cell, Line, Table
from paper_tables.writing import Load, Row, absent, grid, protocol, rows_of, verdict
from pipeline.data.datalist import cases
from pipeline.data.pictures import PictureDataset
from pipeline.evaluation.statistics import describe, paired
from pipeline.inference.flips import mirrored
from pipeline.inference.roads import Network
from pipeline.metrics.overlap import Overlap
from pipeline.metrics.saliency import adaptive_overlap, f_beta, mean_absolute_error, weighted_f_beta
from pipeline.networks.continuous_unet import cropped, padded
from pipeline.networks.contour_evolution import EvolvedRegression
from pipeline.ode.solve import Solver
from pipeline.ode.solvers import Counts

MULTIPLE = 64  # sizes that every network of these tables takes
OF_KIDNEYS = """\
IoU over all pixels of all patients, each by the network of the fold that has not seen them: of the slices that hold
kidney, as the paper has it, and of all slices. In brackets 95 % intervals, bootstrap over patients. The difference is
that of the mean of each patient's own IoU, slices with kidney, paired. CPU minutes are those of a fold's training, of
contour evolution without the regressor's. Figures in the paper's column are of KiTS19."""
OF_SALIENCY = """\
Adaptive F: beta squared 0.3, the map cut at twice its mean, over all pixels of all pictures; "as printed" is the
paper's own formula F1 (1 + beta^2) / beta^2, which is no F and may exceed 1. Weighted F: beta 1 (Margolin 2014), mean
over the pictures, 95 % interval by bootstrap over them. MAE: likewise a mean. IoU: {phi > 0} over all pixels. The
difference is that of weighted F, picture by picture. All on the grid of the prepared pictures; where there are several
seeds, their mean."""


@torch.no_grad()
def patient_overlaps(cell: Cell, condition: Mapping[str, Any]) -> dict[str, Any]:
    """[shared, prediction, reference] of each test patient, a row a patient: slices with kidney, and all slices.

    condition: {"mirrored": whether it is the mean with the mirrored patient's map, "solver": arguments of Solver}, each
    optional; with a solver the slices with kidney alone, and the mean of its evaluations.
    """
    parser = cell.parser()
    trained = _trained(cell, parser)
    network: Network = mirrored(trained, [0]) if condition.get("mirrored") else trained  # left becomes right
    cost = Counts()
    if "solver" in condition:  # of an EvolvedRegression
        trained.evolution.flow.solver = Solver(**condition["solver"])
        network = partial(_evolved, trained, cost)
    dataset = type(parser.get_parsed_content("validate::dataset"))  # of slices, or of several as channels
    transform, fold = parser.get_parsed_content("validate::preprocessing"), parser.get_parsed_content("fold")
    listed = cases(cell.config["dataset_dir"], "test", fold=fold)
    found: dict[str, list[list[int]]] = {"holding": [], "all": []}
    slices = 0
    for case in listed:
        holding, whole = np.zeros(3, int), np.zeros(3, int)
        data = dataset([case], transform, negatives=0.0 if "solver" in condition else None)
        slices += len(data)
        for number in range(len(data)):
            sample = data[number]
            counts = _counts(network(torch.as_tensor(sample["image"])[None])[0] > 0, sample["distance"] > 0)
            whole += counts
            holding += counts * bool(counts[2])
        found["holding"].append(holding.tolist())
        found["all"].append(whole.tolist())
    patients = {"patients": [case["patient"] for case in listed]}
    if "solver" in condition:
        return patients | {"overlaps": {"holding": found["holding"]}, "evaluations": cost.forward / slices}
    return patients | {"overlaps": found}


@torch.no_grad()
def saliency_scores(cell: Cell, condition: Mapping[str, Any]) -> dict[str, Any]:
    """Scores of each picture of the set that the condition tests on, and the pixels of its masks."""
    parser = cell.parser()
    network, intensity = _trained(cell, parser), parser.get_parsed_content("intensity")
    part = "test" if condition["tested_on"] == cell.dataset else "all"
    listed = cases(_tested(cell, condition), part, fold=cell.config["fold"])
    scores: dict[str, list[float | None]] = {"weighted_f_beta": [], "mae": []}
    overlaps: dict[str, list[list[int]]] = {"adaptive": [], "mask": []}
    data = PictureDataset(listed, intensity)
    for number in range(len(data)):
        sample = data[number]
        image, truth = torch.as_tensor(sample["image"])[None], sample["label"][0].numpy() > 0
        phi = cropped(network(padded(image, MULTIPLE)), image)[0, 0]
        shown = phi.double().sigmoid().numpy()
        weighted = weighted_f_beta(shown, truth.astype(float))
        scores["weighted_f_beta"].append(None if np.isnan(weighted) else weighted)
        scores["mae"].append(mean_absolute_error(shown, truth.astype(float)))
        adaptive = adaptive_overlap(shown, truth.astype(float))
        overlaps["adaptive"].append([adaptive.shared, adaptive.prediction, adaptive.reference])
        overlaps["mask"].append(_counts(phi > 0, torch.from_numpy(truth)).tolist())
    return {"pictures": [case["id"] for case in listed], "scores": scores, "overlaps": overlaps}


def _evolved(network: EvolvedRegression, counts: Counts, image: Tensor) -> Tensor:
    return network.evolution(image, network.regressor(image), counts)


def testable(cell: Cell, condition: Mapping[str, Any]) -> bool:
    """Whether what a condition tests on is prepared."""
    return (_tested(cell, condition) / "dataset.json").is_file()


def contours(table: Table, lines: Sequence[Line], load: Load, command: str) -> str:
    """The kidney table; load gives what is stored of a cell."""
    return "\n\n".join(_parts(table, lines, load, command, OF_KIDNEYS, _kidney_rows)) + "\n"


def saliency(table: Table, lines: Sequence[Line], load: Load, command: str) -> str:
    """The table of salient objects; load gives what is stored of a cell."""
    return "\n\n".join(_parts(table, lines, load, command, OF_SALIENCY, _saliency_rows)) + "\n"


def _parts(table: Table, lines: Sequence[Line], load: Load, command: str, legend: str, write: Any) -> Iterator[str]:
    yield from (f"# {table.title}", f"Made by `{command}`.", protocol(table, lines, load), legend)
    for dataset in dict.fromkeys(line.dataset for line in lines):
        yield f"## {table.datasets[dataset]['title']}"
        own = [line for line in lines if line.dataset == dataset]
        if table.against:  # one grid: all conditions beside that one
            yield grid(*write(table, [row for line in own for row in rows_of(line, table.shown[line.network], load)]))
            continue
        unprepared = []
        for condition, settings in table.conditions.items():
            chosen = [line for line in own if condition in table.shown[line.network]]
            rows = [row for line in chosen for row in rows_of(line, [condition], load)]
            there = any(testable(cell, settings) for line in chosen for cell in line.cells)
            if not there and not any(row.stored for row in rows):
                unprepared.append(condition)
                continue
            yield from ([f"### {condition}"] if len(table.conditions) > 1 else [])
            yield grid(*write(table, rows))
        yield from ([f"Not prepared, so not tested: {'; '.join(unprepared)}."] if unprepared else [])
    yield from absent(table, lines)


def _kidney_rows(table: Table, rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    title = table.networks[table.reference]["title"]
    head = [
        "network",
        *(["condition"] if table.against else []),
        "parameters",
        "folds",
        "CPU minutes",
        "IoU, slices with kidney",
        "IoU, all slices",
        f"{title} minus it",
        "paper",
    ]
    measured = [row for row in rows if _is_reference(table, row)]
    reference = _patients(measured[0]) if measured else {}
    cells = []
    for row in rows:
        start, quoted = [_start(table, row), *([_asked(row)] if table.against else [])], _quoted(table, row)
        if not row.stored:
            cells.append([*start, *["–"] * 5, "not run yet", quoted])
            continue
        figures = [_pooled_iou(row, part) for part in ("holding", "all")]
        own = _patients(row)
        both = [] if _is_reference(table, row) else sorted(own.keys() & reference.keys())
        difference = _difference([reference[name] for name in both], [own[name] for name in both])
        folds, minutes = ", ".join(map(str, sorted(row.stored))), np.mean([_minutes(row, seed) for seed in row.stored])
        cells.append([*start, _parameters(row), folds, f"{minutes:.1f}", *figures, difference, quoted])
    return head, cells


def _pooled_iou(row: Row, part: str) -> str:
    measured = all(part in _stored(row, seed)["overlaps"] for seed in row.stored)
    return "{:.4f} [{:.4f}, {:.4f}]".format(*pooled_interval(_overlaps(row, part))) if measured else "–"


def _is_reference(table: Table, row: Row) -> bool:
    return row.line.network == table.reference and row.condition == (table.against or row.condition)


def _asked(row: Row) -> str:
    """The condition, and what its solver cost."""
    counted = [each["conditions"][row.condition].get("evaluations") for each in row.stored.values()]
    return f"{row.condition}, {np.mean(counted):.1f} evaluations" if all(counted) and counted else row.condition


def _minutes(row: Row, seed: int) -> float:
    return row.stored[seed]["cost"]["cpu_seconds"] / 60


def _saliency_rows(table: Table, rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    title = table.networks[table.reference]["title"]
    figures = ["adaptive F", "adaptive F, as printed", "weighted F", "MAE", "IoU"]
    head = ["network", "parameters", "seeds", *figures, f"{title} minus it: weighted F", "paper: adaptive / weighted F"]
    reference = next((row for row in rows if row.line.network == table.reference), None)
    cells = []
    for row in rows:
        seeds, start, quoted = sorted(row.stored), _start(table, row), _quoted(table, row)
        if not seeds:
            cells.append([start, *["–"] * 7, "not run yet", quoted])
            continue
        pooled = [_pooled(row, seed, "adaptive") for seed in seeds]
        weighted, mae = (describe(row.scores(name, seeds).mean(axis=0)) for name in ("weighted_f_beta", "mae"))
        shown = [f"{np.mean([f_beta(each) for each in pooled]):.3f}"]
        shown += [f"{np.mean([f_beta(each, paper_variant=True) for each in pooled]):.3f}"]
        shown += [f"{weighted.mean:.3f} [{weighted.low:.3f}, {weighted.high:.3f}]", f"{mae.mean:.3f}"]
        shown += [f"{np.mean([_pooled(row, seed, 'mask').iou for seed in seeds]):.3f}"]
        common = sorted(set(seeds) & set(reference.stored)) if reference not in (None, row) else []
        pair = (
            [each.scores("weighted_f_beta", common).mean(axis=0) for each in (reference, row)] if common else [[], []]
        )
        cells.append([start, _parameters(row), ", ".join(map(str, seeds)), *shown, _difference(*pair), quoted])
    return head, cells


def _trained(cell: Cell, parser: ConfigParser) -> nn.Module:
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(cell.folder / "model.pt", map_location="cpu", weights_only=True))
    return network


def _tested(cell: Cell, condition: Mapping[str, Any]) -> Path:
    own = Path(cell.config["dataset_dir"])
    return own.parent / condition.get("tested_on", own.name)


def _counts(mask: Tensor, truth: Tensor) -> np.ndarray:
    return np.array([int((mask & truth).sum()), int(mask.sum()), int(truth.sum())])


def _stored(row: Row, seed: int) -> dict[str, Any]:
    return row.stored[seed]["conditions"][row.condition]


def _overlaps(row: Row, part: str) -> list[Overlap]:
    """Of the patients of all folds that are stored."""
    return [Overlap(*counts) for seed in sorted(row.stored) for counts in _stored(row, seed)["overlaps"][part]]


def _patients(row: Row) -> dict[str, float]:
    """Patient -> own IoU over the slices with kidney."""
    names = [name for seed in sorted(row.stored) for name in _stored(row, seed)["patients"]]
    return {name: counts.iou for name, counts in zip(names, _overlaps(row, "holding"), strict=True)}


def _pooled(row: Row, seed: int, part: str) -> Overlap:
    return Overlap(*np.sum(_stored(row, seed)["overlaps"][part], axis=0).tolist())


def _difference(first: Sequence[float], second: Sequence[float]) -> str:
    if not len(first):
        return "–"
    found = paired(first, second)
    return f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}], {verdict(found)}"


def _start(table: Table, row: Row) -> str:
    return table.networks[row.line.network]["title"]


def _parameters(row: Row) -> str:
    return f"{next(iter(row.stored.values()))['cost']['parameters']:,}"


def _quoted(table: Table, row: Row) -> str:
    figures = table.paper.get(row.line.dataset, {}).get(row.line.network, [])
    position = table.shown[row.line.network].index(row.condition)
    quoted = figures[position] if position < len(figures) else []
    return " / ".join("–" if figure is None else f"{figure:g}" for figure in quoted) or "–"
