"""Twenty files that are broken in twenty ways among good ones: each is refused by name, and stops nothing."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from pipeline.cli.app import app
from tests.inference.batches import tiny_bundle, write_broken, write_scans


def test_each_is_refused_by_its_code_and_the_good_ones_are_done(
    tmp_path: Path, write_series: Callable[..., list[Path]]
) -> None:
    codes = write_broken(tmp_path / "in", write_series)
    assert len(codes) == 20
    write_scans(tmp_path / "in", 3)
    out, words = tmp_path / "out", ["segment", str(tmp_path / "in"), "--device", "cpu", "--jobs", "2"]
    result = CliRunner().invoke(app, [*words, "-o", str(out), "--bundle", str(tiny_bundle(tmp_path))])
    assert result.exit_code == 1, result.output
    with (out / "cases.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert {name: row["code"] for name, row in rows.items() if row["status"] == "failed"} == codes
    assert [name for name, row in rows.items() if row["status"] == "ok"] == ["scan_000", "scan_001", "scan_002"]
    assert {path.name for path in out.glob("*.nii.gz")} == {f"scan_00{k}.nii.gz" for k in range(3)}
    assert all(row["message"] for row in rows.values() if row["status"] == "failed")
    assert "3 of 23 done, 20 failed" in result.stderr
