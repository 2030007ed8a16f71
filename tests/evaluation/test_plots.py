"""A plot draws the numbers it is given, all of them, and says what it leaves out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import CaseError
from pipeline.evaluation.folder import Evaluation
from pipeline.evaluation.measures import CaseScores, Row
from pipeline.evaluation.plots import MARKS, Point, Volumes, bland_altman, box_plot, write_plots
from pipeline.evaluation.statistics import agreement, describe
from pipeline.metrics.overlap import Overlap

NAN, INF = float("nan"), float("inf")
SCORES = [0.5, 0.75, 0.875, 0.25, 0.625]


def points(*values: float, status: str = "ok") -> list[Point]:
    return [Point(value, status, f"case {i}") for i, value in enumerate(values)]


def drawn(axes: Any, status: str = "ok") -> np.ndarray:
    """(n, 2): where the marks of a status are."""
    label = MARKS[status]["label"]
    found = [each.get_offsets() for each in axes.collections if each.get_label() == label]
    return np.concatenate([np.asarray(each) for each in found]) if found else np.empty((0, 2))


def texts(axes: Any) -> str:
    return "\n".join(text.get_text() for text in axes.texts)


def box(labels: dict[str, list[Point]], *, metric: str = "dice", unit: str = "1") -> Any:
    (axes,) = box_plot(labels, metric=metric, unit=unit, terms="terms").axes
    return axes


def test_every_score_is_a_point_in_its_labels_row() -> None:
    axes = box({"kidney": points(*SCORES), "tumour": points(0.125, 0.25)})
    places = drawn(axes)
    kidney, tumour = places[np.abs(places[:, 1]) < 0.3], places[np.abs(places[:, 1] - 1) < 0.3]
    assert sorted(kidney[:, 0]) == sorted(SCORES)
    assert sorted(tumour[:, 0]) == [0.125, 0.25]


def test_the_box_and_the_mean_are_those_of_the_tables() -> None:
    axes, expected = box({"kidney": points(*SCORES)}), describe(SCORES)
    (rectangle,) = axes.patches
    assert (rectangle.get_x(), rectangle.get_x() + rectangle.get_width()) == (expected.q1, expected.q3)
    lines = [tuple(line.get_xdata()) for line in axes.lines]
    assert (expected.median, expected.median) in lines
    assert (expected.mean,) in lines
    assert (expected.low, expected.high) in lines
    assert (min(SCORES), expected.q1) in lines  # a whisker


def test_a_point_far_from_the_box_is_beyond_its_whisker() -> None:
    values = [0.5, 0.51, 0.52, 0.53, 0.54, 0.0]
    axes, expected = box({"kidney": points(*values)}), describe(values)
    assert (0.5, expected.q1) in [tuple(line.get_xdata()) for line in axes.lines]
    assert 0.0 in drawn(axes)[:, 0]


def test_equal_scores_lie_side_by_side() -> None:
    places = drawn(box({"kidney": points(*[0.5] * 9)}))
    assert len(set(places[:, 1].round(6))) == 9
    assert np.abs(places[:, 1]).max() < 0.25


def test_misses_and_false_alarms_have_marks_and_counts_of_their_own() -> None:
    labels = {
        "kidney": [
            *points(0.5, 0.75),
            *points(0.0, 0.0, status="missed"),
            *points(0.0, status="false_alarm"),
            *points(NAN, NAN, NAN, status="both_empty"),
        ]
    }
    axes = box(labels)
    assert [len(drawn(axes, status)) for status in MARKS] == [2, 2, 1]
    assert "n 5, 3 both empty\n2 missed, 1 false alarm" in texts(axes)


def test_a_score_of_two_empty_maps_is_drawn_where_there_is_one() -> None:
    shown = [*points(2.0), *points(0.0, status="both_empty")]
    assert drawn(box({"objects": shown}, metric="count_error", unit="objects"))[:, 0].tolist() == [2.0, 0.0]


def test_infinite_distances_are_counted_at_the_edge() -> None:
    axes = box({"kidney": [*points(1.0, 2.0, 3.0), *points(INF, INF, status="missed")]}, metric="hd95", unit="mm")
    assert len(drawn(axes)) == 3
    assert "2 infinite" in texts(axes)
    assert np.isfinite(axes.get_xlim()).all()


def test_a_few_huge_distances_do_not_press_the_others_together() -> None:
    axes = box({"kidney": points(1.0, 2.0, 3.0, 400.0)}, metric="hd95", unit="mm")
    assert axes.get_xscale() == "symlog"
    assert "logarithmic" in axes.get_xlabel()
    assert box({"kidney": points(1.0, 2.0, 3.0, 4.0)}, metric="hd95", unit="mm").get_xscale() == "linear"


def test_the_axis_says_which_way_is_better() -> None:
    assert box({"kidney": points(0.5)}).get_xlabel() == "higher is better"
    assert box({"kidney": points(0.5)}, metric="assd", unit="mm").get_xlabel() == "mm; lower is better"
    assert box({"kidney": points(-2.0)}, metric="volume_difference", unit="ml").get_xlabel() == "ml; 0 is best"


def test_the_boxes_of_several_cases_of_a_patient_are_over_patients() -> None:
    shown = [Point(0.25, "ok", "p"), Point(0.75, "ok", "p"), Point(1.0, "ok", "q"), Point(0.0, "ok", "r")]
    axes = box({"kidney": shown})
    assert (0.5,) in [tuple(line.get_xdata()) for line in axes.lines]  # the mean of 0.5, 1 and 0
    assert len(drawn(axes)) == 4


def test_bland_altman_draws_differences_over_means_and_the_limits() -> None:
    prediction, reference = np.array([10.0, 22.0, 29.0, 0.0]), np.array([12.0, 20.0, 30.0, 8.0])
    volumes = [Volumes(*pair) for pair in zip(prediction, reference, strict=True)]
    (axes,) = bland_altman({"kidney": [*volumes, Volumes(0, 0)]}, unit="ml", terms="terms").axes
    assert drawn(axes).tolist() == [[11, -2], [21, 2], [29.5, -1]]
    assert drawn(axes, "missed").tolist() == [[4, -8]]
    found = agreement(prediction - reference)
    heights = {line.get_ydata()[0] for line in axes.lines}
    assert {found.bias.value, found.lower.value, found.upper.value, 0} == heights


def test_bland_altman_of_one_case_has_a_point_and_no_limits() -> None:
    (axes,) = bland_altman({"kidney": [Volumes(10, 12)]}, unit="ml", terms="terms").axes
    assert drawn(axes).tolist() == [[11, -2]]
    assert "too few" in texts(axes)


def evaluation() -> Evaluation:
    def scores(dice: float, predicted: int) -> CaseScores:
        rows = [Row("kidney", "dice", dice, "1", "ok"), Row("kidney", "hd95", 2.0, "mm", "ok")]
        return CaseScores(rows, {"kidney": Overlap(5, predicted, 10)}, 0.5, "ml")

    failed = {"torn": CaseError("TRUNCATED", "torn.nii.gz is cut short")}
    return Evaluation({"a": scores(0.5, 8), "b": scores(0.75, 12)}, failed, [])


def test_a_file_for_every_metric_and_one_of_volumes_is_written(tmp_path: Path) -> None:
    written = write_plots(evaluation(), tmp_path, terms="evoseg", patients={})
    assert {path.name for path in tmp_path.iterdir()} == {"dice.png", "hd95.png", "bland_altman.png"}
    assert set(written) == set(tmp_path.iterdir())
    for path in written:
        with Image.open(path) as picture:
            assert len(np.unique(np.asarray(picture.convert("L")))) > 50


def test_nothing_compared_draws_nothing(tmp_path: Path) -> None:
    assert write_plots(Evaluation({}, {}, []), tmp_path / "out", terms="", patients={}) == []
    assert not (tmp_path / "out").exists()


def test_a_name_with_signs_of_formulas_is_drawn_as_it_is(tmp_path: Path) -> None:
    figure = box_plot({"a$_{^$ \\frac": points(0.5, 0.25)}, metric="dice", unit="1", terms="terms $x_{$")
    figure.savefig(tmp_path / "a.png")
    assert "a$_{^$ \\frac" in texts(figure.axes[0])


@pytest.mark.parametrize("values", [[], [NAN], [0.5], [INF, INF, INF, INF]])
def test_hardly_any_score_is_drawn_without_a_warning(tmp_path: Path, values: list[float]) -> None:
    figure = box_plot({"kidney": points(*values)}, metric="assd", unit="mm", terms="terms")
    figure.savefig(tmp_path / "a.png")
    assert not figure.axes[0].patches


def test_pyplot_is_never_loaded() -> None:
    script = (
        "import io, sys; from pipeline.evaluation.plots import *\n"
        "for figure in (box_plot({'a': [Point(v, 'ok', str(v)) for v in (0.1, 0.2, 0.3)]}, metric='dice', unit='1', "
        "terms=''), bland_altman({'a': [Volumes(1, 2), Volumes(3, 3)]}, unit='ml', terms='')):\n"
        "    figure.savefig(io.BytesIO())\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "False", ran.stdout + ran.stderr
