"""An evaluation on paper: per_case.csv (every score), summary.json and summary.md (what they come to)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.evaluation.folder import Evaluation
from pipeline.io.json_file import write_json
from pipeline.io.table import write_table
from pipeline.io.whole_file import write_text

COLUMNS = ("case", "label", "metric", "value", "unit", "status")


def write_evaluation(evaluation: Evaluation, summary: Mapping[str, Any], out: Path) -> None:
    """Write the three files into the folder `out`; summary: `summarise`. CaseError: WRITE_FAILED."""
    write_table(out / "per_case.csv", COLUMNS, rows(evaluation))
    write_json(out / "summary.json", as_json(summary))
    write_text(out / "summary.md", markdown(summary) + "\n")


def rows(evaluation: Evaluation) -> Iterator[dict[str, str | float]]:
    """The lines of per_case.csv; a pair that could not be compared has one line, its code as status."""
    for case, scores in evaluation.cases.items():
        for row in scores.rows:
            yield dict(zip(COLUMNS, (case, row.label, row.metric, row.value, row.unit, row.status), strict=True))
    for case, error in evaluation.failed.items():
        yield {"case": case, "status": error.code}


def markdown(summary: Mapping[str, Any]) -> str:
    """The summary for a reader."""
    lines = [f"# {summary['cases']} cases compared, {len(summary['failed'])} failed", ""]
    if summary["labels"]:
        lines += [*_metrics(summary), "", *_pooled(summary), ""]
    lines += [f"- failed: {case}: {why['code']}: {why['message']}" for case, why in summary["failed"].items()]
    for title, name in (
        ("references resampled to the prediction's grid, nearest neighbour", "resampled_references"),
        ("predictions without a reference, left out", "predictions_without_reference"),
    ):
        if summary[name]:
            lines.append(f"- {title}: {', '.join(summary[name])}")
    return "\n".join(lines).rstrip()


def terms(summary: Mapping[str, Any]) -> str:
    """One line that says under which terms the figures hold: for above any table or below any plot."""
    settings = summary["settings"]
    words = [f"evoseg {summary['versions'].get('evoseg') or '(not installed)'}", summary["kind"]]
    if "surface" in settings:
        words.append(f"surface {settings['surface']}")
        words.append(f"tolerance {settings['tolerance_mm']:g} mm (pictures of unknown pixel size: px)")
    return "; ".join(words)


def _metrics(summary: Mapping[str, Any]) -> Iterator[str]:
    n = "n" if summary["statistics_over"] == "cases" else "n (patients)"
    heads = ("label", "metric", "unit", n, "mean", "95 %", "SD", "median", "IQR")
    yield f"Statistics over {summary['statistics_over']}. {terms(summary)}."
    yield ""
    yield from head(*heads, "ok", "missed", "false alarm", "both empty")
    for label, described in summary["labels"].items():
        for metric, of in described["metrics"].items():
            numbers = (number(of["mean"]), span(of["low"], of["high"]), number(of["sd"]), number(of["median"]))
            quartiles, counts = span(of["q1"], of["q3"]), described["cases"].values()
            yield line(label, metric, of["unit"], of["n"], *numbers, quartiles, *counts)
    yield ""
    yield f"95 %: {summary['interval']}. {summary['empty']}"
    if summary["statistics_over"] == "patients":
        yield "The scores of a patient's cases are averaged first; ok, missed, false alarm and both empty count cases."
    yield ""
    yield from (f"- {metric}: {text}" for metric, text in summary["definitions"].items())


def _pooled(summary: Mapping[str, Any]) -> Iterator[str]:
    yield f"Pooled over all {summary['cases']} cases. {terms(summary)}."
    yield ""
    yield from head("label", *(f"pooled {name}" for name in summary["pooled_definitions"]), "unit")
    for label, described in summary["labels"].items():
        yield line(label, *(number(described["pooled"][name]) for name in summary["pooled_definitions"]), "1")
    yield ""
    yield from (f"- pooled {name}: {text}" for name, text in summary["pooled_definitions"].items())


def head(*titles: str) -> Sequence[str]:
    """The first two lines of a table."""
    return line(*titles), "|" + "---|" * len(titles)


def line(*cells: Any) -> str:
    """One more line of it."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def span(low: float, high: float) -> str:
    """Such as 0.1000 to 0.2000; "-" where an end is nan."""
    return "-" if math.isnan(low) or math.isnan(high) else f"{number(low)} to {number(high)}"


def number(value: float) -> str:
    """Four digits after the point; "-" for nan."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def as_json(value: Any) -> Any:
    """JSON has neither nan nor infinity: null and a word stand for them."""
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value
