"""What is kept of a stopped run is what it had finished, under the same settings, of the same files."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from pipeline.errors import CaseError
from pipeline.evaluation.journal import JOURNAL, Journal
from pipeline.evaluation.measures import CaseScores, Row
from pipeline.evaluation.pairs import Pair, find_pairs
from pipeline.metrics.overlap import Overlap

SETTINGS = {"surface": "voxel"}
SCORES = CaseScores(
    [Row("kidney", "hd", math.inf, "mm", "missed"), Row("kidney", "dice", 0.1 + 0.2, "1", "missed")],
    {"kidney": Overlap(1, 2, 3)},
    1e-3,
    "ml",
    {"at_half": [1, 2, 3, 0.5]},
    resampled=True,
)


@pytest.fixture
def pair(predictions, references, write) -> Pair:
    write(predictions / "a.nii.gz", 1)
    write(references / "a.nii.gz", 1)
    return find_pairs(predictions, references)[0][0]


def test_a_finished_case_comes_back_with_all_its_digits(pair: Pair, tmp_path: Path) -> None:
    Journal(tmp_path, SETTINGS, resume=False).add(pair, SCORES)
    assert Journal(tmp_path, SETTINGS, resume=True).finished(pair) == SCORES


def test_nothing_is_kept_without_resume_or_under_other_settings(pair: Pair, tmp_path: Path, caplog) -> None:
    Journal(tmp_path, SETTINGS, resume=False).add(pair, SCORES)
    assert Journal(tmp_path, {"surface": "surfel"}, resume=True).finished(pair) is None
    assert "Other settings" in caplog.text
    Journal(tmp_path, SETTINGS, resume=False).add(pair, SCORES)
    assert Journal(tmp_path, SETTINGS, resume=False).finished(pair) is None


def test_a_file_that_changed_is_scored_again(pair: Pair, tmp_path: Path) -> None:
    Journal(tmp_path, SETTINGS, resume=False).add(pair, SCORES)
    os.utime(pair.prediction.files[0], (1, 1))
    assert Journal(tmp_path, SETTINGS, resume=True).finished(pair) is None
    pair.prediction.files[0].unlink()
    assert Journal(tmp_path, SETTINGS, resume=True).finished(pair) is None


def test_a_half_written_line_is_passed_over(pair: Pair, tmp_path: Path) -> None:
    Journal(tmp_path, SETTINGS, resume=False).add(pair, SCORES)
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"case": "b", "files": [[')
    journal = Journal(tmp_path, SETTINGS, resume=True)
    assert journal.finished(pair) == SCORES
    assert len((tmp_path / JOURNAL).read_text().splitlines()) == 2  # and a line after it is a line of its own


def test_a_full_disk_is_a_sentence(pair: Pair, tmp_path: Path) -> None:
    journal = Journal(tmp_path, SETTINGS, resume=False)
    (tmp_path / JOURNAL).unlink()
    (tmp_path / JOURNAL).mkdir()
    with pytest.raises(CaseError, match="could not be written") as refusal:
        journal.add(pair, SCORES)
    assert refusal.value.code == "WRITE_FAILED"
