from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import doctor
from pipeline.cli.app import app
from pipeline.data.roots import HOME


def states(findings: object) -> set[str]:
    return {state for state, _ in findings}  # type: ignore[attr-defined]


def test_doctor_finds_nothing_missing_here() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "torch" in result.output and "JPEG 2000" in result.output


def test_a_missing_package_fails_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: ["no-such-package>=1", 'pytest; extra == "test"'])
    assert ("FAIL", "no-such-package is missing: pip install no-such-package") in list(doctor.packages())
    assert not any("pytest" in sentence for _, sentence in doctor.packages())


def test_no_bundle_fails_and_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "bundles", dict)
    [(state, sentence)] = doctor.bundles_found()
    assert state == "FAIL" and "EVOSEG_BUNDLES" in sentence


def test_a_temporary_folder_that_is_full_or_shut_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/no/such/folder")
    assert states(doctor.temporary_folder()) == {"FAIL"}


def test_another_pipeline_on_the_import_path_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert states(doctor.import_path()) == {"ok"}
    (tmp_path / "pipeline.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    [(state, sentence)] = doctor.import_path()
    assert state == "note" and str(tmp_path) in sentence


@pytest.mark.parametrize("name", ["pipeline.py", "pipeline/__init__.py"])
def test_the_command_stops_with_a_sentence_when_another_pipeline_hides_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("raise SystemExit('the foreign code ran')")
    script = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(HOME)!r}]; import evoseg; evoseg.main()"
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "another package named `pipeline`" in ran.stderr and "Traceback" not in ran.stderr
