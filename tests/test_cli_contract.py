"""The command line is a contract: scripts of others are written against it.

A new flag is a deliberate act: add it to the table here, to the documentation and to CHANGELOG.md. A flag is never
renamed, and removed only in a new major version.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import VERBS, app, load
from pipeline.errors import InputError

# Of every verb that asks a PACS: which series, and how to reach it.
SERIES = ("--patient-id", "--accession", "--study-date", "--modality", "--study", "--series")
SERVER = ("--ca-bundle", "--plain-http")

# verb -> its flags, as they are typed; "INPUT..." and the like are positional.
CONTRACT: dict[str, set[str]] = {
    "segment": {
        *("INPUT...", "-o", "--output", "--bundle", "--format", "--device", "--series", "--resume", "--overwrite"),
        *("--on-error", "--deterministic", "--log-file", "-q", "--quiet", "-v", "--verbose"),
        *("--solver", "--steps", "--trajectory", "--centers", "--volumes", "--allow-tilt", "--no-report"),
        *("--timeout-per-case", "--jobs", "--shard", "--engine", "--tta", "--per-label", "--save-probabilities"),
        "--all-parts",
    },
    "refine": {
        *("INPUT...", "--initial", "--initial-label", "--new-objects", "--keep-within-mm", "-o", "--output"),
        *("--bundle", "--format", "--device", "--series", "--solver", "--steps", "--trajectory", "--resume"),
        *("--overwrite", "--on-error", "--deterministic", "--log-file", "-q", "--quiet", "-v", "--verbose"),
        *("--allow-tilt", "--no-report", "--timeout-per-case", "--jobs", "--shard", "--engine", "--per-label"),
    },
    "evaluate": {
        *("PREDICTIONS", "REFERENCES", "-o", "--output", "--labels", "--surface", "--tolerance-mm", "--missing"),
        *("--instances", "--saliency", "--images", "--resample-reference", "--jobs", "--resume", "-q", "--quiet", "-v"),
        *("--verbose", "--threshold"),
    },
    "compare": {
        *("PRED PRED...", "--reference", "-o", "--output", "--labels", "--surface", "--tolerance-mm", "--jobs"),
        *("-q", "--quiet", "-v", "--verbose"),
    },
    "prepare": {
        *("DATASET", "SOURCE", "-o", "--output", "--window", "--size", "--spacing", "--label", "--folds", "--seed"),
        *("--patient", "--threshold"),
    },
    "train": {"BUNDLE", "--data", "--set", "--overlay", "--folds"},
    "bundles": set(),
    "bundles show": {"NAME|DIR"},
    "bundles verify": {"[NAME|DIR]..."},
    "bundles export": {"NAME|DIR", "-o", "--output", "--format", "--vendored"},
    "pacs": set(),
    "pacs query": {"URL", *SERIES, *SERVER},
    "pacs pull": {"URL", "-o", "--output", *SERIES, *SERVER, "--log-file", "-q", "--quiet", "-v", "--verbose"},
    "pacs segment": {
        *("URL", "-o", "--output", "--bundle", "--format", *SERIES, "--watch", "--no-push", "--keep-scans", "--device"),
        *("--allow-tilt", *SERVER, "--log-file", "-q", "--quiet", "-v", "--verbose"),
    },
    "pacs push": {"URL", "FILE...", *SERVER, "-q", "--quiet", "-v", "--verbose"},
    "doctor": set(),
}


def command(words: str) -> Any:
    verb, *rest = words.split()
    found = load(verb)
    return found.commands[rest[0]] if rest else found


def flags(words: str) -> set[str]:
    given: set[str] = set()
    for parameter in command(words).params:
        is_option = parameter.param_type_name == "option"
        given |= {*parameter.opts, *parameter.secondary_opts} if is_option else {parameter.metavar or parameter.name}
    return given - {"--help"}


@pytest.mark.parametrize("words", CONTRACT)
def test_a_verb_takes_exactly_the_flags_of_the_contract(words: str) -> None:
    assert flags(words) == CONTRACT[words]


def test_the_verbs_are_those_of_the_contract() -> None:
    assert list(VERBS) == list(dict.fromkeys(words.split()[0] for words in CONTRACT))
    assert set(command("bundles").commands) == {"show", "verify", "export"}
    assert set(command("pacs").commands) == {"query", "pull", "segment", "push"}


@pytest.mark.parametrize("words", CONTRACT)
def test_every_flag_has_a_help_text(words: str) -> None:
    silent = [parameter.name for parameter in command(words).params if not parameter.help and parameter.name != "help"]
    assert not silent, f"evoseg {words}: {silent} have no help"


def test_help_names_every_verb_and_loads_none() -> None:
    script = (
        "import sys; from pipeline.cli.app import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print('LOADED', {'torch', 'monai', 'pandas', 'numba', 'numpy', 'pipeline.cli.segment'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert all(verb in ran.stdout for verb in VERBS)
    assert "LOADED set()" in ran.stdout, ran.stdout + ran.stderr


def test_version_is_the_one_of_the_distribution() -> None:
    described = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"evoseg {described['project']['version']}"


def test_an_input_error_is_a_sentence_on_stderr_and_exit_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> dict[str, Path]:
        raise InputError("no such folder")

    monkeypatch.setattr("pipeline.data.roots.bundles", refuse)
    result = CliRunner().invoke(app, ["bundles"])
    assert (result.exit_code, result.stderr, result.stdout) == (2, "evoseg: no such folder\n", "")


@pytest.mark.parametrize(("flag", "shown"), [("-v", True), ("--resume", False)])
def test_the_traceback_of_a_refusal_is_shown_with_v_only(tmp_path: Path, flag: str, shown: bool) -> None:
    arguments = ["segment", str(tmp_path / "missing"), "-o", str(tmp_path / "out"), "--bundle", "none", flag]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert ("Traceback" in result.stderr) == shown


def test_a_mistyped_verb_is_answered_with_the_near_one() -> None:
    result = CliRunner().invoke(app, ["segmnt"])
    assert result.exit_code == 2
    assert "segment" in result.stderr
