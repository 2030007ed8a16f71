"""The tables say what was counted: a miss costs, an empty pair does not, and both are told."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pipeline.errors import CaseError
from pipeline.evaluation.folder import Evaluation
from pipeline.evaluation.tables import summarise, write_evaluation
from pipeline.metrics.overlap import Overlap

CASES = {
    "perfect": {1: Overlap(10, 10, 10)},
    "half": {1: Overlap(10, 20, 20)},
    "missed": {1: Overlap(0, 0, 30)},
    "alarm": {1: Overlap(0, 40, 0)},
    "empty": {1: Overlap(0, 0, 0)},
}
FAILED = {"torn": CaseError("TRUNCATED", "torn.nii.gz is cut short: copy it again")}
EVALUATION = Evaluation(CASES, FAILED, {1: "kidney"}, ["extra"])


def test_the_mean_counts_misses_as_zero_and_leaves_empty_pairs_out() -> None:
    kidney = summarise(EVALUATION)["labels"]["kidney"]
    assert kidney["dice"]["n"] == 4
    assert kidney["dice"]["mean"] == (1 + 0.5 + 0 + 0) / 4
    assert kidney["iou"]["mean"] == pytest.approx((1 + 10 / 30 + 0 + 0) / 4)
    assert kidney["cases"] == {"ok": 2, "missed": 1, "false_alarm": 1, "both_empty": 1}


def test_the_pooled_iou_weighs_voxels_not_cases() -> None:
    shared, union = 10 + 10, 10 + 30 + 30 + 40
    assert summarise(EVALUATION)["labels"]["kidney"]["pooled_iou"] == shared / union


def test_the_long_table_has_a_line_a_score_and_one_for_a_failed_pair(tmp_path: Path) -> None:
    write_evaluation(EVALUATION, tmp_path)
    with (tmp_path / "per_case.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["case", "label", "metric", "value", "unit", "status"]
    scores = {(row["case"], row["metric"]): (row["value"], row["status"]) for row in rows}
    assert len(rows) == 2 * len(CASES) + 1
    assert scores["half", "dice"] == ("0.5", "ok")
    assert scores["missed", "dice"] == ("0", "missed")
    assert scores["empty", "dice"] == ("", "both_empty")
    assert scores["torn", ""] == ("", "TRUNCATED")


def test_summary_json_is_strict_json_and_names_what_is_left_out(tmp_path: Path) -> None:
    write_evaluation(Evaluation({"empty": CASES["empty"]}, FAILED, {1: "kidney"}, ["extra"]), tmp_path)
    text = (tmp_path / "summary.json").read_text()
    summary = json.loads(text, parse_constant=pytest.fail)  # NaN is no JSON
    assert summary["labels"]["kidney"]["dice"]["mean"] is None
    assert summary["failed"]["torn"]["code"] == "TRUNCATED"
    assert summary["predictions_without_reference"] == ["extra"]


def test_summary_md_holds_the_same_for_a_reader(tmp_path: Path) -> None:
    write_evaluation(EVALUATION, tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "| kidney | dice | 0.3750 |" in text
    assert "torn" in text
    assert "nan" not in text
