from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.cli.train import parse_settings, parse_value
from pipeline.errors import InputError

CONFIG = """
imports: [$import pathlib]
bundle_root: .
dataset_dir: .
output_dir: .
device: cpu
max_epochs: 2
train:
  trainer:
    _target_: SupervisedTrainer
    device: "@device"
    max_epochs: "@max_epochs"
    train_data_loader: "$range(3)"
    network: "$None"
    optimizer: "$None"
    loss_function: "$None"
    iteration_update: "$lambda engine, batch: {'loss': 0.0}"
run:
- "$@train::trainer.run()"
- "$(pathlib.Path(@output_dir) / 'done').write_text(str(@train::trainer.state.iteration) + @dataset_dir)"
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    configs = tmp_path / "toy_segmentation" / "configs"
    configs.mkdir(parents=True)
    (configs / "train.yaml").write_text(CONFIG)
    (configs / "metadata.json").write_text('{"version": "0.1.0", "monai_version": "1.6.1"}')
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset.json").write_text("{}")
    return tmp_path / "toy_segmentation"


def train(bundle: Path, *arguments: str, data: str = "data") -> object:
    return CliRunner().invoke(app, ["train", str(bundle), "--data", str(bundle.parent / data), *arguments])


def test_training_runs_the_bundles_workflow_with_the_settings(bundle: Path) -> None:
    result = train(bundle, "--set", f"output_dir={bundle.parent}", "--set", "max_epochs=4")
    assert result.exit_code == 0, result.output
    assert (bundle.parent / "done").read_text() == f"12{bundle.parent / 'data'}"  # 4 epochs of 3 iterations


def test_a_setting_that_the_config_does_not_have_is_refused_with_the_near_ones(bundle: Path) -> None:
    result = train(bundle, "--set", "max_epoch=4")
    assert result.exit_code == 2
    assert "max_epoch: train.yaml has no such key; near are max_epochs" in result.stderr


@pytest.mark.parametrize("data", ["missing", "empty"])
def test_a_data_folder_that_is_missing_or_empty_is_refused(bundle: Path, data: str) -> None:
    (bundle.parent / "empty").mkdir()
    result = train(bundle, data=data)
    assert result.exit_code == 2
    assert "is missing or empty" in result.stderr


@pytest.mark.parametrize("key", ["dataset_dir", "bundle_root"])
def test_a_folder_is_not_told_twice(bundle: Path, key: str) -> None:
    result = train(bundle, "--set", f"{key}=elsewhere")
    assert result.exit_code == 2
    assert f"--set {key}: BUNDLE and --data say" in result.stderr


def test_nested_keys_and_the_old_separator_are_known() -> None:
    assert parse_settings(["a#b::0::c=2"], ["a", "a::b::0::c"]) == {"a::b::0::c": 2}


@pytest.mark.parametrize(("setting", "message"), [("fold", "is not KEY=VALUE"), ("fold=[1", "is not YAML")])
def test_a_setting_without_a_value_that_can_be_read_is_refused(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_settings([setting], ["fold"])


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("1e-4", 1e-4), ("False", False), ("[96, 96]", [96, 96]), ("dice", "dice"), ("$1+1", "$1+1")],
)
def test_values_are_read_as_what_they_look_like(text: str, value: object) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_what_a_component_refuses_is_told_as_its_own_sentence(bundle: Path) -> None:
    config = bundle / "configs" / "train.yaml"
    text = config.read_text().replace("pathlib]", "pathlib, $from pipeline.data.datalist import images]")
    config.write_text(text.replace("$range(3)", "$images(@dataset_dir)"))
    result = train(bundle)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(f"evoseg: {bundle.parent / 'data'} holds no .nii")
