from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "spleen_ct_with_quite_a_long_name_segmentation"
    (folder / "configs").mkdir(parents=True)
    (folder / "docs").mkdir()
    meta = {"version": "1.2.3", "task": "Spleen in CT", "eval_metrics": {"mean_dice": 0.95}}
    (folder / "configs" / "metadata.json").write_text(json.dumps(meta))
    (folder / "models").mkdir()
    (folder / "models" / "model.pt").touch()
    (folder / "docs" / "README.md").write_text("# Spleen\n\nA *card*.\n")
    (folder / "docs" / "data_license.txt").write_text("\nCC BY 4.0\nand more\n")
    monkeypatch.setenv("EVOSEG_BUNDLES", str(tmp_path))
    return folder


def test_the_list_tells_each_bundles_version_score_task_and_licence_uncut(bundle: Path) -> None:
    result = CliRunner().invoke(app, ["bundles"])
    assert result.exit_code == 0, result.output
    [row] = [line for line in result.output.split("\n") if line.startswith(bundle.name)]
    assert all(cell in row for cell in ("1.2.3", "0.0 MB", "mean_dice 0.95", "Spleen in CT", "CC BY 4.0"))


def test_the_list_tells_which_bundle_waits_for_its_weights(bundle: Path) -> None:
    (bundle / "models" / "model.pt").unlink()
    [row] = [line for line in CliRunner().invoke(app, ["bundles"]).output.split("\n") if line.startswith(bundle.name)]
    assert "no weights yet: train it" in row and "mean_dice" not in row


def test_show_renders_the_model_card(bundle: Path) -> None:
    result = CliRunner().invoke(app, ["bundles", "show", bundle.name])
    assert result.exit_code == 0
    assert "A card." in result.output


def test_show_of_a_bundle_without_a_card_is_refused(bundle: Path) -> None:
    (bundle / "docs" / "README.md").unlink()
    result = CliRunner().invoke(app, ["bundles", "show", bundle.name])
    assert result.exit_code == 2
    assert "has no model card" in result.stderr


@pytest.mark.parametrize("verb", ["show", "verify"])
def test_a_bundle_that_does_not_exist_is_refused_with_the_names_that_do(bundle: Path, verb: str) -> None:
    result = CliRunner().invoke(app, ["bundles", verb, "no_such_segmentation"])
    assert result.exit_code == 2
    assert bundle.name in result.stderr
