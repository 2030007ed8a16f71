"""A folder is scored whatever one case of it holds, with any number of processes alike, and a stopped run goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.evaluation import folder as module
from pipeline.evaluation.folder import Evaluation, Scorer, evaluate_folder
from pipeline.evaluation.journal import JOURNAL, Journal
from pipeline.evaluation.measures import LabelMeasure
from pipeline.evaluation.pairs import find_pairs

SCORER = Scorer(LabelMeasure())


def evaluate(predictions: Path, references: Path, scorer: Scorer = SCORER, **settings) -> Evaluation:
    pairs, unmatched = find_pairs(predictions, references)
    return evaluate_folder(pairs, scorer, unmatched=unmatched, **settings)


@pytest.fixture
def folders(predictions, references, write) -> tuple[Path, Path]:
    """Four good cases of different scores and, third in order, a torn file."""
    random = np.random.default_rng(0)
    for name in "abxyz":
        for folder in (predictions, references):
            voxels = random.choice(120, 40, replace=False)
            write(folder / f"{name}.nii.gz", *voxels, labels=random.integers(1, 4, 40))
    torn = predictions / "x.nii.gz"
    torn.write_bytes(torn.read_bytes()[:-20])
    return predictions, references


def test_a_broken_case_fails_by_its_code_and_the_others_are_scored(folders) -> None:
    evaluation = evaluate(*folders)
    assert list(evaluation.cases) == ["a", "b", "y", "z"]
    assert {case: why.code for case, why in evaluation.failed.items()} == {"x": "TRUNCATED"}


def test_two_processes_give_the_scores_of_one_to_the_last_bit(folders) -> None:
    alone, together = evaluate(*folders, jobs=1), evaluate(*folders, jobs=2)
    assert together.cases == alone.cases
    assert list(together.cases) == list(alone.cases)
    assert together.failed["x"].message == alone.failed["x"].message


def test_all_labels_that_occur_anywhere_are_scored_in_every_case(predictions, references, write) -> None:
    write(predictions / "a.nii.gz", 1, 2, labels=[1, 2])
    write(references / "a.nii.gz", 1, 2, labels=[1, 5])
    write(predictions / "b.nii.gz", 1, labels=10)
    write(references / "b.nii.gz", 1, labels=10)
    cases = evaluate(predictions, references).cases
    statuses = {case: {row.label: row.status for row in scores.rows} for case, scores in cases.items()}
    assert statuses["a"] == {"1": "ok", "2": "false_alarm", "5": "missed", "10": "both_empty"}
    assert list(statuses["b"].items()) == [("1", "both_empty"), ("2", "both_empty"), ("5", "both_empty"), ("10", "ok")]
    assert {len(scores.rows) for scores in cases.values()} == {len(cases["a"].rows)}
    assert list(cases["b"].counts) == ["1", "2", "5", "10"]


def test_a_resampled_reference_is_marked(predictions, references, write) -> None:
    write(predictions / "a.nii.gz", 1)
    write(references / "a.nii.gz", 1, shift_mm=0.2)
    assert evaluate(predictions, references).failed["a"].code == "GRID_MISMATCH"
    assert evaluate(predictions, references, replace(SCORER, resample=True)).cases["a"].resampled


def test_a_case_too_large_for_the_memory_fails_alone(folders, monkeypatch) -> None:
    read = module.read_pair

    def full(pair, *, resample):
        if pair.id == "b":
            raise MemoryError
        return read(pair, resample=resample)

    monkeypatch.setattr(module, "read_pair", full)
    assert evaluate(*folders).failed["b"].code == "OUT_OF_MEMORY"


def test_finished_cases_are_kept_and_give_the_same_scores(folders, tmp_path: Path, monkeypatch) -> None:
    whole = evaluate(*folders, journal=Journal(tmp_path, {}, resume=False))
    lines = (tmp_path / JOURNAL).read_text().splitlines()
    (tmp_path / JOURNAL).write_text("\n".join(lines[:3]) + "\n" + lines[3][:50])  # killed while it wrote the third case
    scored: list[str] = []
    score = Scorer.__call__
    monkeypatch.setattr(Scorer, "__call__", lambda self, pair: scored.append(pair.id) or score(self, pair))
    again = evaluate(*folders, journal=Journal(tmp_path, {}, resume=True))
    assert len(scored) == 3  # the torn case and the two that the journal lost
    assert again.cases == whole.cases


def test_every_case_is_reported_once_also_a_kept_one(folders, tmp_path: Path) -> None:
    reported: list[str] = []
    for resume in (False, True):
        journal = Journal(tmp_path, {}, resume=resume)
        evaluate(*folders, journal=journal, report=lambda case, outcome: reported.append(case))
        assert sorted(reported) == list("abxyz")
        reported.clear()


def test_a_process_that_is_killed_ends_the_run_with_a_sentence(folders) -> None:
    pairs, _ = find_pairs(*folders)
    with pytest.raises(InputError, match="--jobs"):
        evaluate_folder(pairs, Killed(), jobs=2)  # type: ignore[arg-type]
    assert not multiprocessing.active_children()


class Killed:
    """Stands for a scorer whose process the system kills."""

    measure = LabelMeasure()

    def __call__(self, pair):
        os.kill(os.getpid(), signal.SIGKILL)


def test_the_environment_is_left_as_it_was(folders) -> None:
    before = dict(os.environ)
    evaluate(*folders, jobs=2)
    assert dict(os.environ) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_run_that_is_interrupted_goes_on_and_ends_as_if_it_had_not_been(folders, tmp_path: Path, jobs: str) -> None:
    """Ctrl-C after the first case of five: status 130, no traceback; --resume gives the same tables."""
    command = [sys.executable, "-m", "evoseg", "evaluate", *map(str, folders)]
    subprocess.run([*command, "-o", f"{tmp_path}/whole", "--jobs", jobs, "-q"], check=False)
    out = tmp_path / "out"
    script = (
        "import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's & ignores it
        "from pipeline.evaluation import journal; add = journal.Journal.add\n"
        "def slow(self, *case): add(self, *case); time.sleep(60)\n"
        "journal.Journal.add = slow; sys.argv[0] = 'evoseg'; from pipeline.cli.app import app; app()"
    )
    arguments = [*command[3:], "-o", str(out), "--jobs", jobs]
    running = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (out / JOURNAL).exists() or len((out / JOURNAL).read_text().splitlines()) < 2:
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to every process
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in said
    assert not (out / "per_case.csv").exists()
    kept = (out / JOURNAL).read_text().splitlines()[1]
    assert subprocess.run([*command, "-o", str(out), "--jobs", jobs, "-q", "--resume"], check=False).returncode == 1
    assert (out / JOURNAL).read_text().splitlines()[1] == kept
    for name in ("per_case.csv", "summary.json", "summary.md"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
