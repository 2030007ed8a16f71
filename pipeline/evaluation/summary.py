"""What the scores of all cases come to, label by label and metric by metric."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.evaluation.definitions import DEFINITIONS, POOLED, policy
from pipeline.evaluation.folder import Evaluation
from pipeline.evaluation.measures import CaseScores, Measure, Row
from pipeline.evaluation.statistics import RESAMPLES, SEED, describe
from pipeline.io.versions import versions
from pipeline.metrics.overlap import Overlap, Status

if TYPE_CHECKING:
    from pipeline.metrics.instances import Detections

STATUSES: tuple[Status, ...] = ("ok", "missed", "false_alarm", "both_empty")
_POOLED_OF: Mapping[str, Sequence[str]] = {
    "labels": ("iou", "dice"),
    "instances": ("iou", "dice", "ap50", "pq", "object_f1"),
    "saliency": ("iou", "dice", "adaptive_f_beta"),
}
PACKAGES = ("evoseg", "numpy", "scipy", "numba")


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Under which a table's figures hold. patients: case -> patient; a case that is not in it stands for itself."""

    measure: Measure
    patients: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)


def summarise(evaluation: Evaluation, terms: Terms) -> dict[str, Any]:
    """What summary.json holds.

    labels: name -> cases (status -> count), metrics (name -> unit and `statistics.Description`), pooled (figures of the
    whole set).  Where patients are known the scores of a patient's cases are averaged first, and n counts patients.
    """
    measure, cases = terms.measure, evaluation.cases
    settings = {name: value for name, value in asdict(measure).items() if name != "kind"}
    of_patients = bool(terms.patients.keys() & cases.keys())
    over = "patients" if of_patients else "cases"
    groups = [terms.patients.get(case, case) if of_patients else case for case in cases]
    by_label = [case.by_label() for case in cases.values()]
    labels = list(next(iter(cases.values())).counts) if cases else []
    return {
        "kind": measure.kind,
        "versions": versions(*PACKAGES),
        "arguments": dict(terms.arguments),
        "settings": settings,
        "empty": policy(measure.kind, settings.get("missing")),
        "statistics_over": over,
        "interval": f"percentile bootstrap of the mean over {over}, {RESAMPLES} resamples, seed {SEED}",
        "cases": len(cases),
        "patients": len(set(groups)) if of_patients else None,
        "failed": {case: {"code": why.code, "message": why.message} for case, why in evaluation.failed.items()},
        "resampled_references": [case for case, each in cases.items() if each.resampled],
        "predictions_without_reference": list(evaluation.unmatched),
        "labels": {
            label: _label(measure.kind, label, list(cases.values()), [rows[label] for rows in by_label], groups)
            for label in labels
        },
        "definitions": dict(DEFINITIONS[measure.kind]),
        "pooled_definitions": {name: POOLED[name] for name in _POOLED_OF[measure.kind]},
    }


def _label(
    kind: str, label: str, cases: Sequence[CaseScores], rows_of_cases: Sequence[Sequence[Row]], groups: Sequence[str]
) -> dict[str, Any]:
    values: defaultdict[str, list[float]] = defaultdict(list)
    units: dict[str, str] = {}
    statuses: Counter[str] = Counter()
    for rows in rows_of_cases:
        statuses[rows[0].status] += 1
        for row in rows:
            values[row.metric].append(row.value)
            units[row.metric] = row.unit
    return {
        "cases": {status: statuses[status] for status in STATUSES},
        "metrics": {
            metric: {"unit": units[metric], **asdict(describe(grouped_means(scores, groups)))}
            for metric, scores in values.items()
        },
        "pooled": _pooled(kind, label, cases),
    }


def grouped_means(values: Sequence[float], groups: Sequence[str]) -> list[float]:
    """The mean of each group's values that are not nan; nan for a group without any. values[i] is of groups[i]."""
    members: defaultdict[str, list[float]] = defaultdict(list)
    for value, group in zip(values, groups, strict=True):
        kept = members[group]
        if not np.isnan(value):
            kept.append(value)
    return [float(np.mean(kept)) if kept else float("nan") for kept in members.values()]


def _pooled(kind: str, label: str, cases: Sequence[CaseScores]) -> dict[str, float]:
    counts = sum((case.counts[label] for case in cases), Overlap(0, 0, 0))
    pooled = {"iou": counts.iou, "dice": counts.dice}
    if kind == "instances":
        at_half, glas = _added(cases, "at_half"), _added(cases, "glas")
        pooled |= {"ap50": at_half.average_precision, "pq": at_half.panoptic_quality, "object_f1": glas.f1}
    if kind == "saliency":
        from pipeline.metrics.saliency import f_beta

        pooled["adaptive_f_beta"] = f_beta(counts)
    return pooled


def _added(cases: Sequence[CaseScores], name: str) -> Detections:
    from pipeline.metrics.instances import Detections

    matched, in_vain, missed, iou_sum = (sum(each) for each in zip(*(case.sums[name] for case in cases), strict=True))
    return Detections(int(matched), int(in_vain), int(missed), iou_sum)
