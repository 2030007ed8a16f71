from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.cli.train import parse_settings, parse_value, refuse_strange_keys
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


@pytest.fixture
def folds(bundle: Path) -> Path:
    """A toy bundle that tells its fold, and a dataset of two folds; its output_dir."""
    config = bundle / "configs" / "train.yaml"
    text = config.read_text().replace("output_dir: .", f"output_dir: {bundle.parent / 'out'}\nfold: null\nseed: 0")
    told = '- "$pathlib.Path(@output_dir).mkdir(parents=True)"\n- "$(pathlib.Path(@output_dir) / \'model.pt\')'
    told += '.write_text(str(@fold))"\n'
    config.write_text(text[: text.index('- "$(pathlib')] + told)
    cases = []
    for number in range(2):
        case = {"id": str(number), "patient": str(number), "fold": number}
        for kind in ("image", "label"):
            case[kind] = f"{kind}{number}"
            (bundle.parent / "data" / case[kind]).touch()
        cases.append(case)
    (bundle.parent / "data" / "dataset.json").write_text(json.dumps({"cases": cases}))
    return bundle.parent / "out"


def test_each_fold_is_trained_in_a_folder_of_its_own_and_leaves_a_model_of_an_ensemble(
    bundle: Path, folds: Path
) -> None:
    result = train(bundle, "--folds", "all")
    assert result.exit_code == 0, result.output
    assert {path.name: path.read_text() for path in (folds / "models").iterdir()} == {
        "model_0.pt": "0",
        "model_1.pt": "1",
    }
    assert sorted(path.name for path in folds.iterdir()) == ["fold0", "fold1", "models"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--folds", "0,2"], "2 is not among the folds of"),
        (["--folds", "one"], "one is not among the folds of"),
        (["--folds", "0", "--set", "fold=1"], "--folds says which folds are trained"),
    ],
)
def test_folds_that_there_are_not_or_that_are_told_twice_are_refused(
    bundle: Path, folds: Path, arguments: list[str], message: str
) -> None:
    result = train(bundle, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_dataset_without_folds_is_told_how_to_get_them(bundle: Path, folds: Path) -> None:
    described = bundle.parent / "data" / "dataset.json"
    described.write_text(described.read_text().replace('"fold": 1', '"fold": 0'))
    assert "evoseg prepare ... --folds N" in train(bundle, "--folds", "all").stderr


def test_an_overlay_is_read_on_top_and_what_is_set_on_top_of_that(bundle: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("max_epochs: 5\noutput_dir: nowhere\n")
    result = train(bundle, "--overlay", str(overlay), "--set", f"output_dir={tmp_path}")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "done").read_text().startswith("15")  # 5 epochs of 3 iterations


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_epoch: 5", "max_epoch is no key of toy_segmentation's train.yaml; near are max_epochs"),
        ("train::trainers::amp: true", "train::trainers::amp is no key"),
        ("a: [", "is not YAML"),
        ("5", "holds no keys"),
    ],
)
def test_an_overlay_that_would_change_nothing_is_refused(bundle: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    result = train(bundle, "--overlay", str(tmp_path / "mine.yaml"))
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_overlay_may_add_parts_that_it_refers_to_and_arguments_of_parts(tmp_path: Path) -> None:
    config, overlay = tmp_path / "train.yaml", tmp_path / "mine.yaml"
    config.write_text(CONFIG)
    overlay.write_text("train::trainer::amp: true\nmine: {a: 1}\n+train::trainer: {hooks: '@mine::a'}\n")
    refuse_strange_keys(config, overlay)


def test_an_unknown_overlay_is_answered_with_those_that_there_are(bundle: Path) -> None:
    result = train(bundle, "--overlay", "early_stop")
    assert result.exit_code == 2
    assert "amp, deterministic, early_stopping, mlflow, smoke" in result.stderr
