"""An evaluation on paper: per_case.csv (every score), summary.json and summary.md (what they come to)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.evaluation.folder import Evaluation
from pipeline.evaluation.statistics import RESAMPLES, SEED, Description, describe
from pipeline.io.json_file import write_json
from pipeline.io.table import write_table
from pipeline.io.whole_file import write_text
from pipeline.metrics.overlap import Overlap, Status

COLUMNS = ("case", "label", "metric", "value", "unit", "status")
METRICS = ("dice", "iou")
STATUSES: tuple[Status, ...] = ("ok", "missed", "false_alarm", "both_empty")
NOTE = (
    "Dice and IoU: a share of 1. Missed (the label is in the reference only) and false alarm (in the prediction only) "
    "count as 0; cases where both are empty have no score and are left out of n. 95 %: bootstrap interval of the mean "
    f"over cases ({RESAMPLES} resamples, seed {SEED}). Pooled IoU: the voxels of all cases together."
)


def write_evaluation(evaluation: Evaluation, out: Path) -> None:
    """Write the three files into the folder `out`. CaseError: WRITE_FAILED."""
    write_table(out / "per_case.csv", COLUMNS, rows(evaluation))
    summary = summarise(evaluation)
    write_json(out / "summary.json", _without_nan(summary))
    write_text(out / "summary.md", markdown(summary) + "\n")


def rows(evaluation: Evaluation) -> Iterator[dict[str, str | float]]:
    """The lines of per_case.csv; a pair that could not be compared has one line, its code as status."""
    for case, labels in evaluation.cases.items():
        for label, counts in labels.items():
            for metric in METRICS:
                value, name = getattr(counts, metric), evaluation.names[label]
                yield dict(zip(COLUMNS, (case, name, metric, value, "1", counts.status), strict=True))
    for case, error in evaluation.failed.items():
        yield {"case": case, "status": error.code}


def summarise(evaluation: Evaluation) -> dict[str, Any]:
    """What summary.json holds: for each label the description of every metric, the pooled IoU, the counts."""
    labels: dict[str, Any] = {}
    for label, name in evaluation.names.items():
        counts = [case[label] for case in evaluation.cases.values()]
        statuses = Counter(each.status for each in counts)
        labels[name] = {
            **{metric: asdict(describe([getattr(each, metric) for each in counts])) for metric in METRICS},
            "pooled_iou": sum(counts, Overlap(0, 0, 0)).iou,
            "cases": {status: statuses[status] for status in STATUSES},
        }
    return {
        "cases": len(evaluation.cases),
        "failed": {case: {"code": error.code, "message": error.message} for case, error in evaluation.failed.items()},
        "predictions_without_reference": list(evaluation.unmatched),
        "labels": labels,
        "note": NOTE,
    }


def markdown(summary: dict[str, Any]) -> str:
    """The same for a reader."""
    lines = [
        f"# {summary['cases']} cases compared, {len(summary['failed'])} failed",
        "",
        "| label | metric | mean | 95 % | SD | median | n | missed | false alarm | both empty |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, label in summary["labels"].items():
        counts = " | ".join(str(label["cases"][status]) for status in STATUSES[1:])
        for metric in METRICS:
            of = Description(**label[metric])
            interval = f"{_number(of.low)} to {_number(of.high)}"
            numbers = f"{_number(of.mean)} | {interval} | {_number(of.sd)} | {_number(of.median)} | {of.n}"
            lines.append(f"| {name} | {metric} | {numbers} | {counts} |")
        lines.append(f"| {name} | pooled iou | {_number(label['pooled_iou'])} | | | | {summary['cases']} | {counts} |")
    lines += ["", NOTE]
    lines += [f"- failed: {case}: {why['code']}: {why['message']}" for case, why in summary["failed"].items()]
    if summary["predictions_without_reference"]:
        lines.append(f"- predictions without a reference: {', '.join(summary['predictions_without_reference'])}")
    return "\n".join(lines)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _without_nan(value: Any) -> Any:
    """JSON has no nan: null stands for it."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
