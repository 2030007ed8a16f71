"""Methods against each other on the same cases: who is better, by how much, and how far chance could have done it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.evaluation.folder import Evaluation
from pipeline.evaluation.pairs import Pair, find_pairs, maps_by_id
from pipeline.evaluation.statistics import Description, PairedDifference, Rank, describe, holm, paired, ranking
from pipeline.evaluation.summary import grouped_means
from pipeline.io.case_ids import unique_ids

# Few, since Holm's correction makes every further one cost the others: an overlap, a share of the surface, the large
# errors, the usual ones, and the amount.
METRICS: Mapping[str, str] = {
    "dice": "higher",
    "nsd": "higher",
    "hd95": "lower",
    "assd": "lower",
    "absolute_volume_difference": "lower",
}


@dataclass(frozen=True)
class Measured:
    """A metric of a label; better: "higher" or "lower"."""

    metric: str
    label: str
    unit: str

    @property
    def better(self) -> str:
        return METRICS[self.metric]


@dataclass(frozen=True)
class Duel:
    """Method a minus method b; a_better + b_better + equal = n. holm_p: difference.p among those of all duels."""

    measured: Measured
    a: str
    b: str
    difference: PairedDifference
    holm_p: float

    @property
    def a_better(self) -> int:
        return self.difference.higher if self.measured.better == "higher" else self.difference.lower

    @property
    def b_better(self) -> int:
        return self.difference.lower if self.measured.better == "higher" else self.difference.higher


@dataclass(frozen=True)
class Standing:
    """One method in one metric of one label: its scores described, and its rank; n_ranked: cases with all scores."""

    measured: Measured
    method: str
    scores: Description
    rank: Rank
    n_ranked: int


@dataclass(frozen=True)
class Contest:
    """cases: those that all methods have, which alone count; left_out: case -> why it does not.

    statuses: (label, method) -> status -> in how many cases.
    """

    methods: Sequence[str]
    cases: Sequence[str]
    left_out: Mapping[str, str]
    duels: Sequence[Duel]
    standings: Sequence[Standing]
    statuses: Mapping[tuple[str, str], Mapping[str, int]]


def method_names(folders: Sequence[Path]) -> list[str]:
    """One name a folder, as short as tells them apart: its last part, or more of its path."""
    parts = [folder.resolve().parts for folder in folders]
    if len(set(parts)) < len(parts):
        raise InputError(
            f"{', '.join(map(str, folders))}: one folder is given twice, a method differs from itself nowhere"
        )
    return unique_ids([["/".join(each[-k:]) for k in range(1, len(each) + 1)] for each in parts])


def common_pairs(methods: Mapping[str, Path], references: Path) -> tuple[dict[str, list[Pair]], dict[str, str]]:
    """For each method its pairs of the cases that all have, and why others are left out.

    Files, one a method and one of the reference, are one case. InputError: as `maps_by_id`; no case that all have.
    """
    if all(path.is_file() for path in (references, *methods.values())):
        alone = {method: find_pairs(file, references)[0] for method, file in methods.items()}
        return {method: [replace(pair, id=pair.reference.id) for pair in pairs] for method, pairs in alone.items()}, {}
    referred = maps_by_id(references)
    predicted = {method: maps_by_id(folder) for method, folder in methods.items()}
    everywhere = set(referred).intersection(*predicted.values())
    left_out = {}
    for case in sorted(set(referred).union(*predicted.values()) - everywhere):
        lacking = [f"no prediction of {method}" for method, cases in predicted.items() if case not in cases]
        left_out[case] = ", ".join([*lacking, *["no reference"] * (case not in referred)])
    if not everywhere:
        first = "; ".join(f"{case}: {why}" for case, why in list(left_out.items())[:3])
        raise InputError(f"there is no case that all of {', '.join(map(str, methods.values()))} have ({first}, ...)")
    pairs = {
        method: [Pair(case, cases[case], referred[case]) for case in sorted(everywhere)]
        for method, cases in predicted.items()
    }
    return pairs, left_out


def contest(
    evaluations: Mapping[str, Evaluation], *, left_out: Mapping[str, str], patients: Mapping[str, str]
) -> Contest:
    """Every two methods, and all of them, in METRICS of every label.

    evaluations: by method, of the same references. A case that failed for any is left out for all. left_out: those that
    are already. patients: case -> patient; where it names any, a patient's scores are averaged first.
    A label that reference and prediction both lack has no score; but where another method has a false alarm there, it
    is the perfect one (1, or 0 mm, or 0 ml): a false alarm must cost.
    """
    methods = list(evaluations)
    cases = sorted(set.intersection(*(set(each.cases) for each in evaluations.values())))
    failed = {
        case: f"{method}: {why.code} {why.message}"
        for method, evaluation in evaluations.items()
        for case, why in evaluation.failed.items()
    }
    groups = [patients.get(case, case) for case in cases]
    tables = {
        measured: np.column_stack([grouped_means(column, groups) for column in scores.T])
        for measured, scores in _scores(list(evaluations.values()), cases).items()
    }
    duels = [
        Duel(measured, methods[i], methods[j], paired(scores[:, i], scores[:, j]), math.nan)
        for measured, scores in tables.items()
        for i, j in combinations(range(len(methods)), 2)
    ]
    corrected = holm([duel.difference.p for duel in duels])
    duels = [replace(duel, holm_p=p) for duel, p in zip(duels, corrected, strict=True)]
    standings = [standing for measured, scores in tables.items() for standing in _standings(measured, scores, methods)]
    return Contest(methods, cases, {**left_out, **failed}, duels, standings, _statuses(evaluations, cases))


def _standings(measured: Measured, scores: NDArray[np.float64], methods: Sequence[str]) -> list[Standing]:
    ranks = ranking(scores, higher_is_better=measured.better == "higher")
    n_ranked = int((~np.isnan(scores).any(axis=1)).sum())
    return [Standing(measured, method, describe(scores[:, i]), ranks[i], n_ranked) for i, method in enumerate(methods)]


def _statuses(evaluations: Mapping[str, Evaluation], cases: Sequence[str]) -> dict[tuple[str, str], Counter[str]]:
    found: dict[tuple[str, str], Counter[str]] = {}
    for method, evaluation in evaluations.items():
        for case in cases:
            for label, counts in evaluation.cases[case].counts.items():
                found.setdefault((label, method), Counter())[counts.status] += 1
    return found


def _scores(evaluations: Sequence[Evaluation], cases: Sequence[str]) -> dict[Measured, NDArray[np.float64]]:
    """(cases, methods) for every metric and label."""
    found: dict[Measured, NDArray[np.float64]] = {}
    for j, evaluation in enumerate(evaluations):
        for i, case in enumerate(cases):
            for row in evaluation.cases[case].rows:
                is_signed = row.metric == "volume_difference"
                metric = "absolute_volume_difference" if is_signed else row.metric
                if metric in METRICS:
                    measured = Measured(metric, row.label, row.unit)
                    empty = np.full((len(cases), len(evaluations)), np.nan)
                    found.setdefault(measured, empty)[i, j] = abs(row.value)
    for measured, scores in found.items():
        another_has = ~np.isnan(scores).all(axis=1, keepdims=True)
        scores[np.isnan(scores) & another_has] = 1.0 if measured.unit == "1" else 0.0
    return dict(sorted(found.items(), key=lambda item: (item[0].label, list(METRICS).index(item[0].metric))))
