"""The tables say what was counted: a miss costs, an empty pair does not, and both are told."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from pipeline.errors import CaseError
from pipeline.evaluation.definitions import DEFINITIONS
from pipeline.evaluation.folder import Evaluation
from pipeline.evaluation.measures import CaseScores, InstanceMeasure, LabelMeasure, Row, SaliencyMeasure
from pipeline.evaluation.summary import Terms, grouped_means, summarise
from pipeline.evaluation.tables import markdown, write_evaluation
from pipeline.metrics.labels import METRICS
from pipeline.metrics.overlap import Overlap

NAN = float("nan")
COUNTS = {
    "perfect": Overlap(10, 10, 10),
    "half": Overlap(10, 20, 20),
    "missed": Overlap(0, 0, 30),
    "alarm": Overlap(0, 40, 0),
    "empty": Overlap(0, 0, 0),
}
FAILED = {"torn": CaseError("TRUNCATED", "torn.nii.gz is cut short: copy it again")}


def case(counts: Overlap, *, label="kidney", hd95=3.0, resampled=False) -> CaseScores:
    rows = [Row(label, "dice", counts.dice, "1", counts.status), Row(label, "hd95", hd95, "mm", counts.status)]
    return CaseScores(rows, {label: counts}, 1e-3, "ml", resampled=resampled)


EVALUATION = Evaluation({name: case(counts) for name, counts in COUNTS.items()}, FAILED, ["extra"])
TERMS = Terms(measure=LabelMeasure(names={1: "kidney"}, surface="surfel", tolerance_mm=2.0))
SUMMARY = summarise(EVALUATION, TERMS)
KIDNEY = SUMMARY["labels"]["kidney"]


def test_the_mean_counts_misses_as_zero_and_leaves_empty_pairs_out() -> None:
    assert KIDNEY["metrics"]["dice"]["n"] == 4
    assert KIDNEY["metrics"]["dice"]["mean"] == (1 + 0.5 + 0 + 0) / 4
    assert KIDNEY["cases"] == {"ok": 2, "missed": 1, "false_alarm": 1, "both_empty": 1}


def test_pooled_figures_weigh_voxels_not_cases() -> None:
    shared, union = 10 + 10, 10 + 30 + 30 + 40
    assert KIDNEY["pooled"]["iou"] == shared / union
    assert KIDNEY["pooled"]["dice"] == 2 * shared / (shared + union)


def test_the_objects_of_a_set_are_pooled_as_one() -> None:
    sums = [{"at_half": (2, 1, 0, 1.6), "glas": (1, 0, 0, 0.7)}, {"at_half": (1, 0, 3, 0.9), "glas": (0, 2, 1, 0.0)}]
    cases = {
        str(i): CaseScores([Row("objects", "pq", 0.5, "1", "ok")], {"objects": Overlap(1, 1, 1)}, 1.0, "px2", each)
        for i, each in enumerate(sums)
    }
    pooled = summarise(Evaluation(cases, {}, []), Terms(measure=InstanceMeasure()))["labels"]["objects"]["pooled"]
    assert pooled["ap50"] == 3 / (3 + 1 + 3)
    assert pooled["pq"] == pytest.approx(2.5 / (3 + 1 / 2 + 3 / 2))
    assert pooled["object_f1"] == 2 * 1 / (2 * 1 + 2 + 1)


def test_the_pooled_f_of_saliency_maps_is_that_of_all_pixels() -> None:
    cases = {"a": case(Overlap(4, 8, 5), label="foreground"), "b": case(Overlap(0, 2, 0), label="foreground")}
    pooled = summarise(Evaluation(cases, {}, []), Terms(measure=SaliencyMeasure()))["labels"]["foreground"]["pooled"]
    assert pooled["adaptive_f_beta"] == pytest.approx(1.3 * 4 / (0.3 * 5 + 10))


def test_the_scans_of_a_patient_are_averaged_before_patients_are() -> None:
    patients = {"perfect": "p", "half": "p", "missed": "q", "torn": "t"}
    summary = summarise(EVALUATION, Terms(measure=LabelMeasure(), patients=patients))
    dice = summary["labels"]["kidney"]["metrics"]["dice"]
    assert (summary["statistics_over"], summary["patients"], summary["cases"]) == ("patients", 4, 5)
    assert (dice["n"], dice["mean"]) == (3, (0.75 + 0 + 0) / 3)  # p, q and the alarm; the empty case has no score
    assert "over patients" in markdown(summary)


def test_a_group_without_any_score_has_none() -> None:
    means = grouped_means([1.0, NAN, 0.5, NAN], ["p", "p", "q", "r"])
    assert means[:2] == [1.0, 0.5]
    assert math.isnan(means[2])


def test_the_long_table_has_a_line_a_score_and_one_for_a_failed_pair(tmp_path: Path) -> None:
    write_evaluation(EVALUATION, SUMMARY, tmp_path)
    with (tmp_path / "per_case.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["case", "label", "metric", "value", "unit", "status"]
    scores = {(row["case"], row["metric"]): (row["value"], row["unit"], row["status"]) for row in rows}
    assert len(rows) == 2 * len(COUNTS) + 1
    assert scores["half", "dice"] == ("0.5", "1", "ok")
    assert scores["missed", "dice"] == ("0", "1", "missed")
    assert scores["empty", "dice"] == ("", "1", "both_empty")
    assert scores["half", "hd95"] == ("3", "mm", "ok")
    assert scores["torn", ""] == ("", "", "TRUNCATED")


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    write_evaluation(Evaluation({"=cmd": case(Overlap(1, 1, 1), label="@sum")}, {}, []), SUMMARY, tmp_path)
    assert (tmp_path / "per_case.csv").read_text().splitlines()[1].startswith("'=cmd,'@sum,dice")


def test_summary_json_is_strict_json_and_says_how_and_what_is_left_out(tmp_path: Path) -> None:
    cases = {"empty": case(COUNTS["empty"], hd95=math.inf, resampled=True)}
    write_evaluation(Evaluation({}, {}, []), summarise(Evaluation(cases, FAILED, ["extra"]), TERMS), tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)  # NaN is no JSON
    assert summary["labels"]["kidney"]["metrics"]["dice"]["mean"] is None
    assert summary["labels"]["kidney"]["metrics"]["hd95"]["mean"] == "inf"
    assert summary["failed"]["torn"]["code"] == "TRUNCATED"
    assert summary["predictions_without_reference"] == ["extra"]
    assert summary["resampled_references"] == ["empty"]
    assert summary["settings"] == {
        **{"names": {"1": "kidney"}, "surface": "surfel", "tolerance_mm": 2.0, "missing": "diagonal"}
    }
    assert "evoseg" in summary["versions"]
    assert summary["definitions"]["dice"].startswith("2 |P n R|")


def test_every_metric_is_defined() -> None:
    assert list(DEFINITIONS["labels"]) == list(METRICS)


def test_summary_md_holds_the_same_for_a_reader() -> None:
    lines = markdown(SUMMARY).splitlines()
    # label, metric, unit, n, mean, interval, SD, median, quartiles, ok, missed, false alarm, both empty
    dice = next(line for line in lines if line.startswith("| kidney | dice |"))
    cells = [cell.strip() for cell in dice.strip("|").split("|")]
    assert cells[2:5] == ["1", "4", "0.3750"]
    assert cells[7:] == ["0.2500", "0.0000 to 0.6250", "2", "1", "1", "1"]
    headings = [line for line in lines if "surface surfel; tolerance 2 mm" in line]
    assert len(headings) == sum(line.startswith("|---") for line in lines) == 2
    assert all("evoseg" in line for line in headings)
    assert "- failed: torn: TRUNCATED: torn.nii.gz is cut short: copy it again" in lines
    assert "nan" not in "\n".join(lines)


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (LabelMeasure(missing="inf"), "distances infinite. Both empty: no score;"),
        (InstanceMeasure(), "distances the diagonal of the image. Both empty: no score but the count's error;"),
        (SaliencyMeasure(), "shares are 0. Both empty: no score but the mean absolute difference;"),
    ],
)
def test_the_summary_says_what_stands_for_a_missing_score(measure, said: str) -> None:
    assert said in summarise(Evaluation({}, {}, []), Terms(measure=measure))["empty"]


def test_a_folder_without_a_good_case_has_a_summary_too() -> None:
    summary = summarise(Evaluation({}, FAILED, []), TERMS)
    assert summary["labels"] == {}
    assert "0 cases compared, 1 failed" in markdown(summary)


def test_a_bar_in_a_name_does_not_break_the_table() -> None:
    summary = summarise(Evaluation({"a": case(Overlap(1, 1, 1), label="a|b")}, {}, []), TERMS)
    assert "| a\\|b | dice |" in markdown(summary)
