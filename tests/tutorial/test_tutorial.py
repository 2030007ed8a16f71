"""The tutorial runs from its first cell to its last, and its network learns: in this process, without Jupyter."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import matplotlib
import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app

NOTEBOOK = Path(__file__).with_name("tutorial.ipynb")


def run(source: str, names: dict[str, object]) -> None:
    """A cell as Jupyter runs it: Python, or one command of ours behind a `!`."""
    if source.startswith("!"):
        program, *arguments = shlex.split(source[1:])
        assert program == "evoseg"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{source}\n{result.output}"
    else:
        exec(compile(source, NOTEBOOK.name, "exec"), names)


def test_the_tutorial_runs_and_its_network_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            run("".join(cell["source"]), names)
    told = capsys.readouterr().out.splitlines()
    learned = [float(line.split()[-1]) for line in told if line.startswith("patient") and "Dice" in line]
    assert len(learned) == 2 and min(learned) > 0.7
    assert 0.3 < float(told[-1].split()[-1]) < 1  # moved, and still about the same kidney
