"""Each rule is broken once, in a copy of a bundle that keeps them all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.inference import verify as verifying
from pipeline.inference.verify import RULES, verify
from pipeline.inference.verify_workflows import infer_properties, networks_are_equal, train_properties
from pipeline.networks.continuous_unet import ContinuousUNet

GOOD = Path(__file__).resolve().parents[2] / "bundles" / "kidney_ct_regression_segmentation"

Damage = Callable[[Path], object]
Only = Callable[..., None]


def in_metadata(**changes: object) -> Damage:
    def damage(root: Path) -> None:
        path = root / "configs" / "metadata.json"
        content = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return damage


def in_config(name: str, **changes: object) -> Damage:
    """Set `a__b` for the key a::b; None takes the key out."""

    def damage(root: Path) -> None:
        path = root / "configs" / name
        content = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            *parents, last = key.split("__")
            node = content
            for parent in parents:
                node = node[parent]
            if value is None:
                del node[last]
            else:
                node[last] = value
        path.write_text(yaml.safe_dump(content))

    return damage


def in_weights(change: Callable[[dict], object]) -> Damage:
    def damage(root: Path) -> None:
        path = root / "models" / "model.pt"
        state = torch.load(path, weights_only=True)
        change(state)
        path.unlink()
        torch.save(state, path)

    return damage


def in_card(old: str, new: str) -> Damage:
    def damage(root: Path) -> None:
        path = root / "docs" / "README.md"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return damage


def with_steps_of_its_own(root: Path) -> None:
    """A network with its weights, whose loops depend on what it sees."""
    torch.save(ContinuousUNet(filters=(3, 4)).state_dict(), root / "models" / "model.pt")
    solver = {"_target_": "pipeline.ode.solve.Solver", "method": "dopri5"}
    target = "pipeline.networks.continuous_unet.ContinuousUNet"
    in_config("inference.yaml", network_def={"_target_": target, "filters": [3, 4], "solver": solver})(root)


def first(state: dict) -> str:
    return next(iter(state))


SCHEMA = "metadata.json keeps MONAI's newest schema"
CHANGELOG = "the changelog has this version"
DOCUMENTS = "licence, data licence and model card are there"
HEADINGS = "the model card has its headings"
SCORES = "the card and metadata.json tell the same score"
SIZES = "small enough for git"
PATHS = "no absolute path in a config"
MACROS = "no % macro in a config"
READERS = "every LoadImaged names its reader"
NETWORKS = "train and inference build the same network"
WEIGHTS = "the weights are plain tensors and fit the network"
SHAPES = "the network takes and gives the shapes of metadata.json"
SCRIPT = "MONAI exports it as TorchScript"
TRAIN = "the training workflow has what MONAI requires"
INFER = "the inference workflow has what MONAI requires"

# (the rule, what breaks it, a word of the sentence that must come)
DAMAGES: list[tuple[str, Damage, str]] = [
    (SCHEMA, in_metadata(task=None), "'task' is a required property"),
    (SCHEMA, in_metadata(schema="https://x/meta_schema_20220324.json"), "20240725"),
    (SCHEMA, lambda r: (r / "configs/metadata.json").write_text("{"), "read as JSON"),
    (CHANGELOG, in_metadata(version="9.9.9"), "9.9.9"),
    (DOCUMENTS, lambda r: (r / "LICENSE").unlink(), "LICENSE"),
    (DOCUMENTS, lambda r: (r / "docs/data_license.txt").write_text(""), "data_lic"),
    (HEADINGS, in_card("Limitations", "Remarks"), "Limitations"),
    (SCORES, in_metadata(eval_metrics={"mean_dice": 0.1234}), "0.1234"),
    (SCORES, in_metadata(eval_metrics={}), "no eval_metrics"),
    (SIZES, lambda r: (r / "models/more.pt").write_bytes(bytes(41_000_000)), "must stay below 40"),
    (SIZES, in_weights(lambda s: s.update(more=torch.zeros(3_100_000))), "must stay below 12"),
    (PATHS, in_config("train.yaml", dataset_dir="/data/kits"), "/data/kits"),
    (PATHS, in_config("train.yaml", dataset_dir="$'/home/me' + 'x'"), "/home/me"),
    (PATHS, in_config("inference.yaml", output_dir="C:\\results"), "C:"),
    (MACROS, in_config("train.yaml", seed="%inference.yaml::seed"), "textual macro"),
    (READERS, in_config("train.yaml", x=[{"_target_": "LoadImaged", "keys": "i"}]), "no reader"),
    (READERS, in_config("train.yaml", x={"_target_": "monai.transforms.LoadImage"}), "x"),
    (NETWORKS, in_config("train.yaml", network_def__band=5.0), "band is 5.0"),
    (WEIGHTS, in_weights(lambda s: s.pop(first(s))), "Missing key"),
    (WEIGHTS, in_weights(lambda s: s.update(epoch="7")), "epoch is a str"),
    (WEIGHTS, in_weights(lambda s: s[first(s)].fill_(torch.nan)), "not finite"),
    (WEIGHTS, lambda r: (r / "models/model.pt").unlink(), "model.pt"),
    (SHAPES, in_config("inference.yaml", network_def__out_channels=2), "2"),
    (SCRIPT, with_steps_of_its_own, "fixed grid"),
    (TRAIN, in_config("train.yaml", train__inferer=None), "inferer"),
    (TRAIN, in_config("train.yaml", validate__evaluator=None), "evaluator"),
    (INFER, in_config("inference.yaml", inferer=None), "inferer"),
]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("eval", "checkpoint*")
    return Path(shutil.copytree(GOOD, tmp_path / GOOD.name, ignore=ignored))


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Only:
    """Keep some of the rules: the others take seconds and are not what the test is about."""
    return lambda *rules: monkeypatch.setattr(verifying, "RULES", {rule: RULES[rule] for rule in rules})


@pytest.mark.parametrize(
    ("rule", "damage", "word"), DAMAGES, ids=[f"{n}-{rule}" for n, (rule, *_) in enumerate(DAMAGES)]
)
def test_a_broken_rule_is_told(bundle: Path, only: Only, rule: str, damage: Damage, word: str) -> None:
    damage(bundle)
    only(rule)
    [(_, problems)] = verify(bundle)
    assert any(word in problem for problem in problems), problems


def test_a_score_is_the_same_number_whatever_zeros_end_it(bundle: Path, only: Only) -> None:
    in_metadata(eval_metrics={"mean_dice": 0.711})(bundle)
    in_card("## Performance\n", "## Performance\n\nDice 0.7110.\n")(bundle)
    only(SCORES)
    [(_, problems)] = verify(bundle)
    assert not problems


def test_a_difference_in_a_part_of_the_network_is_told_and_equal_parts_are_equal(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("models", "docs")
    root = Path(shutil.copytree(GOOD.with_name("continuous_unet_busi_segmentation"), tmp_path / "b", ignore=ignored))
    assert not list(networks_are_equal(root))
    in_config("train.yaml", network_def__solver__steps=3)(root)
    assert ["solver" in problem for problem in networks_are_equal(root)] == [True]


def test_a_list_behind_a_reference_is_compared_as_what_it_stands_for(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    network = {"_target_": "torch.nn.Sequential", "sizes": "@model::sizes"}
    whole = {"network_def": network, "model": {"sizes": [1, "$1 + 1"]}}
    (tmp_path / "configs" / "train.yaml").write_text(yaml.safe_dump(whole))
    for sizes, told in (([1, 2], False), ([1, 3], True)):
        plain = {"network_def": network | {"sizes": sizes}}
        (tmp_path / "configs" / "inference.yaml").write_text(yaml.safe_dump(plain))
        assert bool(list(networks_are_equal(tmp_path))) == told


@pytest.mark.parametrize("name", ["continuous_unet_busi_segmentation", "continuous_unet_isic_segmentation"])
def test_workflows_of_pictures_are_built_on_made_up_pictures(name: str) -> None:
    root = GOOD.with_name(name)
    assert not train_properties(root) and not infer_properties(root)


def test_every_rule_is_broken_by_a_test() -> None:
    assert {rule for rule, *_ in DAMAGES} == set(RULES)


def test_the_command_tells_each_rule_and_exits_with_1_when_one_is_broken(bundle: Path, only: Only) -> None:
    only(CHANGELOG, MACROS)
    assert CliRunner().invoke(app, ["bundles", "verify", str(bundle)]).exit_code == 0
    in_metadata(version="9.9.9")(bundle)
    result = CliRunner().invoke(app, ["bundles", "verify", str(bundle)])
    assert result.exit_code == 1
    assert "FAIL the changelog has this version" in result.output and "ok   no % macro" in result.output
