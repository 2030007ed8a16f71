"""What an evaluation looks like: every case as a point, and the boxes, means and limits that the tables state."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.definitions import DEFINITIONS
from pipeline.evaluation.folder import Evaluation
from pipeline.evaluation.statistics import Agreement, Description, agreement, describe
from pipeline.evaluation.summary import grouped_means
from pipeline.io.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORDS: Mapping[str, str] = {metric: text for kind in DEFINITIONS.values() for metric, text in kind.items()}
ABBREVIATIONS = {
    "iou",
    "hd",
    "hd95",
    "assd",
    "masd",
    "nsd",
    "ap",
    "ap50",
    "ap75",
    "pq",
    "sq",
    "rq",
    "aji",
    "mae",
    "ahd",
}
# Okabe and Ito's colours are told apart by colour-blind readers; the shapes by everybody, on grey paper too.
MARKS: Mapping[str, Mapping[str, Any]] = {
    "ok": {"color": "#0072b2", "marker": "o", "label": "case"},
    "missed": {"color": "#d55e00", "marker": "v", "label": "missed: in the reference only"},
    "false_alarm": {"color": "#cc79a7", "marker": "D", "label": "false alarm: in the prediction only"},
}
INK, GREY, FILL = "#1a1a1a", "#5c5c5c", "#e3e9ee"
WIDTH = 7.2  # inches: a page of text
DPI = 200
COLUMNS = 2  # of Bland-Altman panels
NOTE_WIDTH = 110  # characters of the note below a plot that fit in a line
NOTE = (
    "Box: quartiles and median, whiskers to the last within 1.5 of its length. Diamond: mean, 95 % bootstrap interval."
    "\nP: prediction, R: reference, d: distances between their surfaces. "
)


class Point(NamedTuple):
    """One case in a plot; status: a key of MARKS or both_empty; group: its patient, or itself."""

    value: float
    status: str
    group: str


class Volumes(NamedTuple):
    """How large a label is in the prediction and in the reference of one case, in one unit."""

    prediction: float
    reference: float


def write_plots(evaluation: Evaluation, out: Path, *, terms: str, patients: Mapping[str, str]) -> list[Path]:
    """Write METRIC.png for every metric and bland_altman.png into the folder `out`; returns their paths.

    terms: the line of `evaluation.tables.terms`, below every plot. patients: case -> patient, as in the tables:
    boxes and means are over the patients' means, points are cases. Without a case that could be compared there is
    nothing to draw. CaseError: WRITE_FAILED.
    """
    scores: dict[tuple[str, str], dict[str, list[Point]]] = {}
    volumes: dict[str, list[Volumes]] = {}
    for name, case in evaluation.cases.items():
        for row in case.rows:
            points = scores.setdefault((row.metric, row.unit), {}).setdefault(row.label, [])
            points.append(Point(row.value, row.status, patients.get(name, name)))
        for label, counts in case.counts.items():
            pair = Volumes(counts.prediction * case.voxel_volume, counts.reference * case.voxel_volume)
            volumes.setdefault(label, []).append(pair)
    written = []
    for (metric, unit), labels in scores.items():
        written.append(_save(box_plot(labels, metric=metric, unit=unit, terms=terms), out / f"{metric}.png"))
    if volumes:
        unit = next(iter(evaluation.cases.values())).volume_unit
        written.append(_save(bland_altman(volumes, unit=unit, terms=terms), out / "bland_altman.png"))
    return written


def better(unit: str) -> str:
    """Which scores of a unit are the better ones, in words: a share is the better the higher, a distance the lower."""
    return {"1": "higher is better", "mm": "lower is better", "px": "lower is better"}.get(unit, "0 is best")


def box_plot(labels: Mapping[str, Sequence[Point]], *, metric: str, unit: str, terms: str) -> Figure:
    """A row a label: a box of its scores under all of them, the mean below, the counts under the label's name.

    Infinite scores are arrows at the edge; cases where both maps are empty have no score and are counted only.
    """
    figure = _new_figure(WIDTH, 1.3 + 0.62 * len(labels))
    axes = figure.add_subplot()
    finite = np.array([p.value for points in labels.values() for p in points if math.isfinite(p.value)])
    wide = unit == "mm" and finite.size > 0 and finite.max() > 20 * max(1.0, float(np.median(finite)))
    if wide:
        axes.set_xscale("symlog", linthresh=1, linscale=0.4)
        axes.xaxis.set_major_formatter("{x:g}")
    for i, (name, points) in enumerate(labels.items()):
        _name(axes, i, name, points)
        _row(axes, i, points, float(np.ptp(finite)) / 60 if finite.size else 0.0)
    _limits(axes, finite, unit)
    _plain(axes)
    axes.set_yticks([])
    axes.grid(axis="x", color="#e8e8e8", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.set_ylim(len(labels) - 0.45, -0.55)
    spelled = metric.upper() if metric in ABBREVIATIONS else metric.replace("_", " ").capitalize()
    _title(axes, spelled, WORDS.get(metric, ""))
    scale = "" if unit == "1" else f"{unit}, logarithmic above 1 {unit}; " if wide else f"{unit}; "
    axes.set_xlabel(scale + better(unit), color=GREY, fontsize=9)
    _legend(figure, f"{NOTE}{terms}.")
    return figure


def bland_altman(labels: Mapping[str, Sequence[Volumes]], *, unit: str, terms: str) -> Figure:
    """A panel a label: prediction minus reference over the mean of the two, the bias and the limits of agreement.

    Bands are the 95 % intervals of the three lines (`agreement`). Cases in which both are empty are left out.
    """
    columns = min(COLUMNS, len(labels))
    rows = math.ceil(len(labels) / columns)
    figure = _new_figure(WIDTH if columns > 1 else 0.62 * WIDTH, 0.9 + 2.7 * rows)
    for i, (label, volumes) in enumerate(labels.items()):
        axes = figure.add_subplot(rows, columns, i + 1)
        _panel(axes, label, volumes, unit)
        if i % columns == 0:
            axes.set_ylabel(f"prediction − reference, {unit}", fontsize=8.5, color=GREY)
        if i >= len(labels) - columns:
            axes.set_xlabel(f"mean of both, {unit}", fontsize=8.5, color=GREY)
    note = "Solid: bias. Dashed: limits of agreement (bias ± 1.96 SD). Bands: their 95 % intervals."
    _legend(figure, f"{note}\n{terms}.")
    return figure


def _panel(axes: Axes, label: str, volumes: Sequence[Volumes], unit: str) -> None:
    pairs = np.array([(each.prediction, each.reference) for each in volumes if each.prediction or each.reference])
    pairs = pairs.reshape(-1, 2)
    differences = pairs[:, 0] - pairs[:, 1]
    statuses = ["missed" if not p else "false_alarm" if not r else "ok" for p, r in pairs]
    _scatter(axes, pairs.mean(axis=1), differences, statuses)
    found = agreement(differences)
    for line, colour, dashes in ((found.bias, INK, "-"), (found.lower, GREY, "--"), (found.upper, GREY, "--")):
        if math.isfinite(line.value):
            axes.axhline(line.value, color=colour, linestyle=dashes, linewidth=1, zorder=2)
        if math.isfinite(line.low):
            axes.axhspan(line.low, line.high, color=colour, alpha=0.09, linewidth=0, zorder=1)
    axes.axhline(0, color=GREY, linewidth=0.6, linestyle=":", zorder=1)
    _plain(axes)
    axes.margins(x=0.06, y=0.08)
    _title(axes, f"{label}, n {found.n}", _in_words(found, unit))


def _in_words(found: Agreement, unit: str) -> str:
    if found.n < 2:
        return "too few cases for limits"
    bias = f"bias {found.bias.value:+.3g} ({found.bias.low:+.3g} to {found.bias.high:+.3g}) {unit}"
    words = f"{bias}, limits {found.lower.value:+.3g} and {found.upper.value:+.3g}"
    return words.replace("-", "−")


def _row(axes: Axes, y: int, points: Sequence[Point], bin_width: float) -> None:
    """The box, points and mean of one label at height y."""
    over = grouped_means([point.value for point in points], [point.group for point in points])
    found = describe(over)
    shown = [point for point in points if math.isfinite(point.value)]
    values = np.array([point.value for point in shown])
    if found.n >= 3 and math.isfinite(found.q3 - found.q1):
        _box(axes, y, found, np.array(over))
    _scatter(axes, values, y + _side_by_side(values, bin_width), [_mark(point) for point in shown])
    if math.isfinite(found.mean):
        axes.plot([found.low, found.high], [y + 0.36] * 2, color=INK, linewidth=1.2, zorder=4)
        axes.plot([found.mean], [y + 0.36], marker="D", color=INK, markersize=4, zorder=4)
    infinite = sum(math.isinf(point.value) for point in points)
    if infinite:
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 2, "alpha": 0.8}
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "center", "bbox": behind}
        axes.annotate(f"{infinite} infinite \N{RIGHTWARDS ARROW}", (0.995, y), color=INK, fontsize=7.5, **place)


def _mark(point: Point) -> str:
    """Where both maps are empty most metrics have no score; one that has, such as an error of counts, is like any."""
    return "ok" if point.status == "both_empty" else point.status


def _box(axes: Axes, y: float, found: Description, values: NDArray[np.float64]) -> None:
    """By hand: the quartiles are those of the table, and matplotlib's own boxplot would load pyplot."""
    reach = 1.5 * (found.q3 - found.q1)
    inside = values[np.isfinite(values) & (values >= found.q1 - reach) & (values <= found.q3 + reach)]
    line: dict[str, Any] = {"color": GREY, "linewidth": 0.9, "zorder": 2}
    for end, quartile in ((min(inside.min(), found.q1), found.q1), (max(inside.max(), found.q3), found.q3)):
        axes.plot([end, quartile], [y, y], **line)
        axes.plot([end, end], [y - 0.1, y + 0.1], **line)
    axes.barh(y, found.q3 - found.q1, left=found.q1, height=0.5, facecolor=FILL, edgecolor=GREY, linewidth=0.9)
    axes.plot([found.median] * 2, [y - 0.25, y + 0.25], color=INK, linewidth=2, zorder=2)


def _side_by_side(values: NDArray[np.float64], bin_width: float) -> NDArray[np.float64]:
    """How far each point moves up or down, within 0.22 of its row, so that equal ones are seen one by one."""
    offsets = np.zeros(values.size)
    bins = np.round(values / bin_width) if bin_width else np.zeros(values.size)
    for each in np.unique(bins):
        inside = np.flatnonzero(bins == each)
        step = min(0.07, 0.44 / inside.size)
        offsets[inside] = step * (np.arange(inside.size) - (inside.size - 1) / 2)
    return offsets


def _scatter(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], statuses: Sequence[str]) -> None:
    size = float(np.clip(900 / max(1, x.size), 5, 22))
    for status, mark in MARKS.items():
        chosen = np.array([each == status for each in statuses], bool)
        if chosen.any():
            axes.scatter(x[chosen], y[chosen], s=size, alpha=0.85, edgecolors="white", linewidths=0.3, zorder=3, **mark)


def _name(axes: Axes, y: float, name: str, points: Sequence[Point]) -> None:
    """The label's name left of its row, and under it what the scores are of."""
    of = Counter(point.status for point in points)
    said = f"n {sum(not math.isnan(point.value) for point in points)}"
    said += f", {of['both_empty']} both empty" * bool(of["both_empty"])
    alarms = f"{of['missed']} missed, {of['false_alarm']} false alarm{'s' * (of['false_alarm'] != 1)}"
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right"}
    axes.annotate(name, (0, y), (-8, 3), va="bottom", color=INK, fontsize=9.5, parse_math=False, **place)
    axes.annotate(f"{said}\n{alarms}", (0, y), (-8, 1), va="top", color=GREY, fontsize=7.5, linespacing=1.3, **place)


def _limits(axes: Axes, values: NDArray[np.float64], unit: str) -> None:
    if not values.size:
        return
    low, high = values.min(), values.max()
    room = 0.04 * (high - low) or 0.04
    axes.set_xlim(low - room, high + room)
    if unit != "1" and low >= 0:
        axes.set_xlim(left=-room if axes.get_xscale() == "linear" else -0.1)


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def _title(axes: Axes, title: str, words: str) -> None:
    """words: in small type between the title and the plot."""
    axes.set_title(title, loc="left", fontweight="bold", fontsize=10, color=INK, pad=17, parse_math=False)
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(words, (0, 1), (0, 5), fontsize=7.5, color=GREY, parse_math=False, **place)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=GREY, labelcolor=INK, labelsize=8)


def _legend(figure: Figure, note: str) -> None:
    """The marks that occur in any panel, once, and what the lines are."""
    found = {}
    for axes in figure.axes:
        handles, names = axes.get_legend_handles_labels()
        found.update(dict(zip(names, handles, strict=True)))
    style: dict[str, Any] = {
        "frameon": False,
        "fontsize": 7.5,
        "title_fontsize": 7,
        "alignment": "left",
        "labelcolor": INK,
    }
    title = "\n".join(part for line in note.split("\n") for part in textwrap.wrap(line, NOTE_WIDTH))
    legend = figure.legend(found.values(), found.keys(), loc="outside lower left", ncols=3, title=title, **style)
    legend.get_title().set_parse_math(False)


def _save(figure: Figure, path: Path) -> Path:
    with whole_file(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})
    return path
