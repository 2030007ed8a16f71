"""A contest of methods on paper: compare.csv (every two), ranking.csv (all), compare.json and compare.md (both)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.evaluation.compare import METRICS, Contest, Duel, Standing
from pipeline.evaluation.definitions import DEFINITIONS
from pipeline.evaluation.statistics import MOST_EXACT, RESAMPLES, SEED
from pipeline.evaluation.summary import STATUSES
from pipeline.evaluation.tables import as_json, head, line, number, span
from pipeline.io.json_file import write_json
from pipeline.io.table import write_table
from pipeline.io.whole_file import write_text

SIGNIFICANT = 0.05
_DUEL = ("metric", "label", "unit", "better", "a", "b", "n", "left_out", "a_better", "equal", "b_better")
DUEL_COLUMNS = (*_DUEL, "mean_difference", "low", "high", "median_difference", "wilcoxon_p", "holm_p")
RANK_COLUMNS = ("metric", "label", "unit", "better", "method", "n", "mean_rank", "low", "high", "first")


def write_contest(contest: Contest, settings: Mapping[str, Any], out: Path) -> None:
    """Write the four files into the folder `out`.

    settings: what the figures depend on (versions, surface, tolerance, folders, "over": cases or patients), for
    compare.json and the heads of the tables. CaseError: WRITE_FAILED.
    """
    duels, ranks = [_duel(each) for each in contest.duels], [_rank(each) for each in contest.standings]
    write_table(out / "compare.csv", DUEL_COLUMNS, duels)
    write_table(out / "ranking.csv", RANK_COLUMNS, ranks)
    content = {
        **settings,
        "cases": contest.cases,
        "left_out": contest.left_out,
        "differences": duels,
        "ranking": ranks,
        "scores": [
            {**asdict(each.measured), "method": each.method, **asdict(each.scores)} for each in contest.standings
        ],
        "statuses": [{"label": label, "method": method, **of} for (label, method), of in contest.statuses.items()],
        "definitions": _definitions(),
        "statistics": notes(settings["over"]),
    }
    write_json(out / "compare.json", as_json(content))
    write_text(out / "compare.md", markdown(contest, settings) + "\n")


def markdown(contest: Contest, settings: Mapping[str, Any]) -> str:
    """The contest for a reader."""
    lines = [f"# {len(contest.methods)} methods on {len(contest.cases)} cases", "", _terms(settings), ""]
    if contest.duels:
        lines += ["## Scores: mean and its 95 % interval", "", *_scores(contest), ""]
        lines += ["## Missed and false alarms", "", *_statuses(contest), ""]
        lines += ["## Differences a - b", "", *_duels(contest), ""]
        lines += ["## Ranks (1 is best)", "", *_ranks(contest), ""]
    lines += [f"- {name}: {text}; {METRICS[name]} is better" for name, text in _definitions().items()]
    lines += ["", *(f"- {note}" for note in notes(settings["over"]))]
    if contest.left_out:
        lines += ["", f"Left out, {len(contest.left_out)} cases:", ""]
        lines += [f"- {case}: {why}" for case, why in contest.left_out.items()]
    return "\n".join(lines)


def notes(over: str) -> list[str]:
    """How the statistics are meant. over: "cases" or "patients"."""
    return [
        f"n: {over}; a difference is one of the same {over}."
        + (" The scores of a patient's cases are averaged first." if over == "patients" else ""),
        f"95 %: percentile bootstrap over {over}, {RESAMPLES} resamples, seed {SEED}.",
        f"p: Wilcoxon's signed-rank test, two-sided, equal pairs dropped, exact up to {MOST_EXACT} pairs that differ, "
        f"with ties too. p (Holm): corrected for all rows of the table; significant below {SIGNIFICANT}, in bold.",
        "Missed and false alarm: shares are 0, distances the diagonal of the image. Where reference and prediction "
        "lack a label but another method has a false alarm, the score is the perfect one: a false alarm costs. Where "
        "all lack it there is none.",
        "First: in how many resamples the method has the best mean rank; methods that are equal share.",
    ]


def _terms(settings: Mapping[str, Any]) -> str:
    version = settings["versions"].get("evoseg") or "(not installed)"
    tolerance = f"tolerance {settings['tolerance_mm']:g} mm (pictures of unknown pixel size: px)"
    return f"evoseg {version}; surface {settings['surface']}; {tolerance}."


def _definitions() -> dict[str, str]:
    known = DEFINITIONS["labels"]
    return {name: known.get(name) or f"size of: {known['volume_difference']}" for name in METRICS}


def _duel(duel: Duel) -> dict[str, str | float]:
    measured, of = duel.measured, duel.difference
    names = (measured.metric, measured.label, measured.unit, measured.better, duel.a, duel.b)
    counts = (of.n, of.left_out, duel.a_better, of.equal, duel.b_better)
    values = (*names, *counts, of.mean, of.low, of.high, of.median, of.p, duel.holm_p)
    return dict(zip(DUEL_COLUMNS, values, strict=True))


def _rank(standing: Standing) -> dict[str, str | float]:
    measured, rank = standing.measured, standing.rank
    names = (measured.metric, measured.label, measured.unit, measured.better, standing.method, standing.n_ranked)
    return dict(zip(RANK_COLUMNS, (*names, rank.mean, rank.low, rank.high, rank.first), strict=True))


def _scores(contest: Contest) -> Iterator[str]:
    yield from head("label", "metric", "unit", "better", "n", *contest.methods)
    k = len(contest.methods)
    for start in range(0, len(contest.standings), k):
        row = contest.standings[start : start + k]
        measured = row[0].measured
        cells = [f"{number(each.scores.mean)} ({span(each.scores.low, each.scores.high)})" for each in row]
        yield line(measured.label, measured.metric, measured.unit, measured.better, row[0].n_ranked, *cells)


def _statuses(contest: Contest) -> Iterator[str]:
    yield from head("label", "method", "ok", "missed", "false alarm", "both empty")
    for (label, method), of in sorted(contest.statuses.items()):
        yield line(label, method, *(of.get(status, 0) for status in STATUSES))


def _duels(contest: Contest) -> Iterator[str]:
    titles = ("mean", "95 %", "median", "a better", "equal", "b better", "p", "p (Holm)")
    yield from head("label", "metric", "better", "a", "b", "n", *titles)
    for duel in contest.duels:
        measured, of = duel.measured, duel.difference
        names = (measured.label, measured.metric, measured.better, duel.a, duel.b)
        size = (number(of.mean), span(of.low, of.high), number(of.median))
        counts = (duel.a_better, of.equal, duel.b_better)
        yield line(*names, of.n, *size, *counts, f"{of.p:.2g}", _marked(duel.holm_p))


def _marked(p: float) -> str:
    return f"**{p:.2g}**" if p < SIGNIFICANT else f"{p:.2g}"


def _ranks(contest: Contest) -> Iterator[str]:
    yield from head("label", "metric", "method", "n", "mean rank", "95 %", "first")
    for each in contest.standings:
        rank, measured = each.rank, each.measured
        numbers = (f"{rank.mean:.2f}", f"{rank.low:.2f} to {rank.high:.2f}", f"{rank.first:.0%}")
        yield line(measured.label, measured.metric, each.method, each.n_ranked, *numbers)
