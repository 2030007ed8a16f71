"""Methods are compared on the same cases, the better one is called better, and what does not count is said."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from pipeline.errors import CaseError, InputError
from pipeline.evaluation.compare import Contest, Duel, common_pairs, contest, method_names
from pipeline.evaluation.compare_tables import DUEL_COLUMNS, RANK_COLUMNS, markdown, write_contest
from pipeline.evaluation.folder import Evaluation
from pipeline.evaluation.measures import CaseScores, Row
from pipeline.metrics.overlap import Overlap

NAN = float("nan")
SETTINGS = {"versions": {"evoseg": "1"}, "surface": "voxel", "tolerance_mm": 1.0, "over": "cases"}
COUNTS = {"ok": (1, 2, 2), "missed": (0, 0, 2), "false_alarm": (0, 2, 0), "both_empty": (0, 0, 0)}


def case(status: str = "ok", **scores: float) -> CaseScores:
    units = {"dice": "1", "nsd": "1", "hd95": "mm", "assd": "mm", "volume_difference": "ml"}
    rows = [Row("kidney", metric, value, units.get(metric, "1"), status) for metric, value in scores.items()]
    return CaseScores(rows, {"kidney": Overlap(*COUNTS[status])}, 1.0, "ml")


def evaluation(*cases: CaseScores, **failed: CaseError) -> Evaluation:
    return Evaluation({f"case {i}": each for i, each in enumerate(cases)}, failed, [])


def compared(*, patients: dict[str, str] | None = None, **evaluations: Evaluation) -> Contest:
    return contest(evaluations, left_out={}, patients=patients or {})


def duel(found: Contest, metric: str) -> Duel:
    (only,) = [each for each in found.duels if each.measured.metric == metric]
    return only


def test_better_is_higher_for_shares_and_lower_for_distances() -> None:
    good = evaluation(*[case(dice=0.75, hd95=2.0)] * 6)
    poor = evaluation(*[case(dice=0.5, hd95=5.0)] * 6)
    found = compared(good=good, poor=poor)
    for metric, difference in (("dice", 0.25), ("hd95", -3.0)):
        each = duel(found, metric)
        assert (each.a, each.b, each.difference.mean) == ("good", "poor", difference)
        assert (each.a_better, each.difference.equal, each.b_better) == (6, 0, 0)
    assert [each.rank.mean for each in found.standings] == [1, 2, 1, 2]


def test_volumes_are_compared_by_the_size_of_their_error() -> None:
    found = compared(a=evaluation(case(volume_difference=-5.0)), b=evaluation(case(volume_difference=3.0)))
    assert duel(found, "absolute_volume_difference").difference.mean == 2
    assert duel(found, "absolute_volume_difference").b_better == 1


def test_p_is_corrected_over_metrics_labels_and_methods() -> None:
    random = np.random.default_rng(0)
    evaluations = {
        name: evaluation(*[case(dice=random.uniform() + shift, nsd=random.uniform()) for _ in range(12)])
        for name, shift in (("a", 0), ("b", 1), ("c", 0))
    }
    found = compared(**evaluations)
    assert len(found.duels) == 2 * 3
    least = min(found.duels, key=lambda each: each.difference.p)
    assert least.difference.p == 2 / 2**12
    assert least.holm_p == pytest.approx(6 * least.difference.p)


def test_a_false_alarm_costs_where_another_method_rightly_found_nothing() -> None:
    alarm = case("false_alarm", dice=0.0, hd95=400.0, volume_difference=7.0)
    nothing = case("both_empty", dice=NAN, hd95=NAN, volume_difference=NAN)
    found = compared(a=evaluation(alarm), b=evaluation(nothing))
    means = {each.measured.metric: each.difference.mean for each in found.duels}
    assert means == {"dice": -1, "hd95": 400, "absolute_volume_difference": 7}
    assert all(each.b_better == 1 for each in found.duels)
    assert found.statuses["kidney", "a"] == {"false_alarm": 1}


def test_a_label_that_all_lack_has_no_pair() -> None:
    nothing = case("both_empty", dice=NAN)
    found = duel(compared(a=evaluation(nothing, case(dice=0.5)), b=evaluation(nothing, case(dice=0.25))), "dice")
    assert (found.difference.n, found.difference.left_out, found.difference.mean) == (1, 1, 0.25)


def test_a_case_that_failed_for_one_method_counts_for_none() -> None:
    a = evaluation(case(dice=0.5), case(dice=0.75))
    b = Evaluation({"case 0": case(dice=0.25)}, {"case 1": CaseError("TRUNCATED", "cut short")}, [])
    found = compared(a=a, b=b)
    assert found.cases == ["case 0"]
    assert found.left_out == {"case 1": "b: TRUNCATED cut short"}
    assert duel(found, "dice").difference.n == 1


def test_a_patient_with_several_cases_counts_once() -> None:
    a = evaluation(case(dice=0.25), case(dice=0.75), case(dice=1.0))
    b = evaluation(*[case(dice=0.25)] * 3)
    found = duel(compared(a=a, b=b, patients={"case 0": "p", "case 1": "p"}), "dice")
    assert (found.difference.n, found.difference.mean) == (2, (0.25 + 0.75) / 2)


def test_metrics_that_say_the_same_again_are_not_tested() -> None:
    found = compared(a=evaluation(case(dice=0.5, iou=0.3)), b=evaluation(case(dice=0.5, iou=0.3)))
    assert {each.measured.metric for each in found.duels} == {"dice"}


def test_folders_are_named_as_shortly_as_tells_them_apart(tmp_path: Path) -> None:
    assert method_names([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
    assert method_names([tmp_path / "x" / "labels", tmp_path / "y" / "labels"]) == ["x/labels", "y/labels"]
    with pytest.raises(InputError, match="given twice"):
        method_names([tmp_path / "a", tmp_path / "b" / ".." / "a"])


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.eye(4, dtype=np.uint8)[..., None].repeat(3, 2), np.eye(4)), path)


def test_the_cases_that_all_have_are_paired_and_the_others_told(tmp_path: Path) -> None:
    for name in ("a/both", "a/mine", "b/both", "b/yours", "r/both_label", "r/mine_label", "r/yours_label"):
        write(tmp_path / f"{name}.nii.gz")
    write(tmp_path / "a" / "stray.nii.gz")
    pairs, left_out = common_pairs({"a": tmp_path / "a", "b": tmp_path / "b"}, tmp_path / "r")
    assert {method: [pair.id for pair in each] for method, each in pairs.items()} == {"a": ["both"], "b": ["both"]}
    assert left_out == {
        "mine": "no prediction of b",
        "stray": "no prediction of b, no reference",
        "yours": "no prediction of a",
    }


def test_files_are_one_case_whatever_their_names(tmp_path: Path) -> None:
    for name in ("a", "b", "truth"):
        write(tmp_path / f"{name}.nii.gz")
    files = {name: tmp_path / f"{name}.nii.gz" for name in ("a", "b")}
    pairs, left_out = common_pairs(files, tmp_path / "truth.nii.gz")
    assert {method: [pair.id for pair in each] for method, each in pairs.items()} == {"a": ["truth"], "b": ["truth"]}
    assert left_out == {}


def test_methods_without_a_common_case_are_refused(tmp_path: Path) -> None:
    for name in ("a/x", "b/y", "r/x", "r/y"):
        write(tmp_path / f"{name}.nii.gz")
    with pytest.raises(InputError, match="no case that all"):
        common_pairs({"a": tmp_path / "a", "b": tmp_path / "b"}, tmp_path / "r")


def rows(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_tables_hold_losses_beside_wins(tmp_path: Path) -> None:
    a = evaluation(*[case(dice=value) for value in (0.5, 0.75, 0.25)])
    b = evaluation(*[case(dice=value) for value in (0.25, 0.875, 0.25)])
    found = compared(a=a, b=b)
    write_contest(found, SETTINGS, tmp_path)
    (row,) = rows(tmp_path / "compare.csv")
    assert tuple(row) == DUEL_COLUMNS
    assert (row["a_better"], row["equal"], row["b_better"], row["better"]) == ("1", "1", "1", "higher")
    ranks = rows(tmp_path / "ranking.csv")
    assert tuple(ranks[0]) == RANK_COLUMNS
    assert [each["mean_rank"] for each in ranks] == ["1.5", "1.5"]
    content = json.loads((tmp_path / "compare.json").read_text(), parse_constant=pytest.fail)
    assert content["differences"][0]["wilcoxon_p"] == found.duels[0].difference.p
    assert "| kidney | dice | higher | a | b | 3 |" in (tmp_path / "compare.md").read_text()


def test_what_is_significant_is_bold_and_what_is_left_out_is_listed() -> None:
    a, b = evaluation(*[case(dice=0.75)] * 9), evaluation(*[case(dice=0.5)] * 9)
    found = contest({"a": a, "b": b}, left_out={"x": "no reference"}, patients={})
    text = markdown(found, SETTINGS)
    assert f"**{2 / 2**9:.2g}**" in text
    assert "- x: no reference" in text


def test_nothing_in_common_after_failures_is_a_table_without_rows(tmp_path: Path) -> None:
    failed = Evaluation({}, {"case 0": CaseError("TRUNCATED", "cut short")}, [])
    found = compared(a=evaluation(case(dice=0.5)), b=failed)
    write_contest(found, SETTINGS, tmp_path)
    assert rows(tmp_path / "compare.csv") == []
    assert "0 cases" in (tmp_path / "compare.md").read_text()
