"""MONAI's own command with a key that no config has, or without data, ends in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.data.command_line import check_command_line, config_files, refuse_strange_arguments, tell
from pipeline.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parents[1] for path in ROOT.glob("bundles/*/configs/metadata.json"))
MONAI = "/anywhere/monai/bundle/__main__.py"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "train.yaml").write_text("max_epochs: 2\ntrain: {trainer: {max_epochs: '@max_epochs'}}\n")
    return tmp_path / "train.yaml"


@pytest.mark.parametrize("word", ["--max_epoch", "--max_epoch=7", "--train::trainers::amp", "--fold"])
def test_a_key_that_no_config_has_is_refused_by_name(config: Path, word: str) -> None:
    with pytest.raises(InputError, match=rf"^{word.partition('=')[0]}: no config has such a key; .*max_epochs"):
        refuse_strange_arguments(["--config_file", str(config), word, "7"])


@pytest.mark.parametrize(
    "words",
    [
        ["--max_epochs", "7"],
        ["--max-epochs=7"],  # which fire reads as max_epochs
        ["--train#trainer#max_epochs", "7"],
        ["--train::trainer::amp", "True"],  # an argument of a part, which checks its arguments itself
        ["--+train::trainer", "{}"],
        ["--meta_file", "m.json", "--tracking", "mlflow"],  # MONAI's own
    ],
)
def test_keys_of_the_configs_arguments_of_their_parts_and_monais_own_pass(config: Path, words: list[str]) -> None:
    refuse_strange_arguments(["--config_file", str(config), *words])


def test_a_key_of_any_of_several_configs_is_known(config: Path, tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("weights: null\n")
    files = str([str(config), str(tmp_path / "more.yaml")])
    refuse_strange_arguments([f"--config_file={files}", "--weights", "w.pt", "--max_epochs", "1"])
    assert config_files(["--config-file", files]) == [config, tmp_path / "more.yaml"]


def test_without_configs_on_the_command_line_there_is_nothing_to_compare_with() -> None:
    refuse_strange_arguments(["--args_file", "a.json", "--anything", "1"])


def test_the_command_line_of_another_program_is_left_alone(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    arguments = ["--config_file", str(config), "--strange", "1"]
    monkeypatch.setattr(sys, "argv", ["monailabel", *arguments])
    check_command_line()
    assert sys.excepthook is sys.__excepthook__
    monkeypatch.setattr(sys, "argv", [MONAI, "run", *arguments])
    with pytest.raises(InputError, match="--strange"):
        check_command_line()


def test_other_errors_keep_their_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    error = ValueError("not ours")
    tell(ValueError, error, None)
    assert "ValueError: not ours" in capsys.readouterr().err


@pytest.mark.parametrize("files", [["train"], ["train", "evaluate"], ["inference"]], ids="+".join)
@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
def test_every_bundle_looks_at_the_command_line_first(bundle: Path, files: list[str]) -> None:
    merged: dict[str, list[str]] = {}
    for name in files:
        merged |= yaml.safe_load((bundle / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert merged["initialize"][0] == "$check_command_line()"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--dataset_dirs", "."], "--dataset_dirs: no config has such a key; near are dataset_dir"),
        (["--dataset_dir", "."], ". holds no .nii or .nii.gz: give --dataset_dir"),
    ],
)
def test_monais_command_ends_with_the_sentence_and_without_its_traceback(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    config = ROOT / "bundles" / "kidney_ct_regression_segmentation" / "configs" / "inference.yaml"
    ran = subprocess.run(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(config), *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith(f"evoseg: {sentence}")
    assert "Traceback" not in ran.stderr
