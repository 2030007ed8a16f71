"""A run that was killed at any moment is resumed to the very bytes of one that was not."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.inference.batches import tiny_bundle, write_scans
from tests.inference.killed import Moment, contents, exit_status

CASES = 5


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("killed")
    write_scans(folder / "in", CASES)
    return [str(folder / "in"), "--bundle", str(tiny_bundle(folder)), "--device", "cpu", "--jobs", "2", "--no-report"]


@pytest.fixture(scope="module")
def undisturbed(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert exit_status([*words, "-o", str(out)]) == 0
    assert "EMPTY" not in (out / "cases.csv").read_text()  # there is something to compare
    left = contents(out)
    assert {f"scan_00{k}.nii.gz" for k in range(CASES)} | {"cases.csv"} <= left.keys()
    return left


@pytest.mark.parametrize("moment", [("before a name", 4), ("after a name", 7), ("half a line", 2)])
def test_a_killed_run_is_resumed_to_the_same_bytes(
    words: list[str], undisturbed: dict[str, object], tmp_path: Path, moment: Moment
) -> None:
    out = tmp_path / "out"
    assert exit_status([*words, "-o", str(out)], moment) == -signal.SIGKILL
    assert exit_status([*words, "-o", str(out), "--resume"]) == 0
    assert contents(out) == undisturbed
