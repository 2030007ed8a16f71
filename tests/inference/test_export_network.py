"""Files that run without evoseg: each kind of network in each format, what they say of themselves, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.errors import InputError
from pipeline.inference import export_network as module
from pipeline.inference.export_network import FREE, METADATA, export_network
from pipeline.layers.soft_threshold_dynamics import SoftThresholdDynamics
from pipeline.networks.compose import WithOutputLayer
from pipeline.networks.continuous_unet import ContinuousUNet
from pipeline.networks.contour_evolution import ContourEvolution, EvolvedRegression
from pipeline.networks.distance_unet import DistanceUNet
from pipeline.networks.encoded_continuous_unet import EncodedContinuousUNet
from pipeline.networks.folded import Folded
from pipeline.networks.image_evolution import FoldedEmbedding, ImageEvolution
from pipeline.networks.instance_net import InstanceNet
from pipeline.networks.node_stack import NodeStack
from pipeline.ode.solve import Solver

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
RELEASED = sorted(path.parents[1].name for path in BUNDLES.glob("*/models/model.pt"))
ABOUT = {"name": "a network of the test"}
WIDTHS = (16, 16, 16, 16, 16, 16)
EULER, ABM2 = Solver(method="euler", steps=2), Solver(method="abm2", steps=2)


def evolution() -> nn.Module:
    made = ContourEvolution(embedding_features=WIDTHS, features=WIDTHS, solver=EULER)
    nn.init.normal_(made.postnet.weight)  # which else answers 0 whatever the image
    return EvolvedRegression(regressor=DistanceUNet(features=WIDTHS), evolution=made)


def volumes() -> nn.Module:
    inner = ContinuousUNet(spatial_dims=3, in_channels=4, out_channels=4, filters=(2, 2), solver=EULER)
    return Folded(inner, factors=(2, 2, 1))


def shaped() -> nn.Module:
    prior = SoftThresholdDynamics(spatial_dims=2, iterations=2, kernel_size=3)
    return WithOutputLayer(ContinuousUNet(filters=(2, 2), out_channels=3, solver=EULER), prior)


# An encoder that nobody has trained fades: normalised six levels deep it is rounding alone (float32 and float64 differ
# by 0.08 of 2), three levels deep it is not, by any number of threads.
# kind -> (the network, its image (C, *spatial), which sizes its file takes)
KINDS = {
    "second order": (
        lambda: ContinuousUNet(filters=(3, 4), solver=ABM2),
        (3, 32, 64),
        "32 x 64" + FREE,
    ),
    "volumes, folded": (volumes, (1, 8, 12, 4), "8 x 12 x 4"),
    "an evolved contour": (evolution, (1, 68, 72), "68 x 72"),
    "an encoder": (
        lambda: EncodedContinuousUNet(filters=(2, 2, 2), solver=EULER),
        (3, 64, 64),
        "64 x 64" + FREE,
    ),
    "an evolved image": (
        lambda: ImageEvolution(embedding=FoldedEmbedding(channels=16), features=WIDTHS, solver=EULER),
        (1, 64, 64),
        "64 x 64" + FREE,
    ),
    "a stack of equations": (
        lambda: NodeStack(widths=(16, 16), blocks=1, groups=8, pooled=8, solver=EULER),
        (3, 32, 32),
        "32 x 32" + FREE,
    ),
    "instances": (lambda: InstanceNet(filters=(2, 2, 2), position_period=32), (3, 32, 32), "32 x 32" + FREE),
    "a shape layer": (shaped, (3, 32, 32), "32 x 32" + FREE),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def made(kind: str) -> tuple[nn.Module, tuple[int, ...], str]:
    make, shape, sizes = KINDS[kind]
    torch.manual_seed(0)
    return make(), shape, sizes


@every_kind
@pytest.mark.parametrize("format", ["torchscript", "onnx"])
def test_a_file_answers_as_the_network_for_any_batch_and_the_sizes_that_it_tells(
    kind: str, format: str, tmp_path: Path
) -> None:
    network, shape, sizes = made(kind)
    exported = export_network(network, shape, tmp_path / "net", format=format, described=ABOUT)  # which compares
    assert exported.sizes == sizes
    assert exported.difference < 1e-4


def test_torch_export_answers_as_the_network(tmp_path: Path) -> None:
    network, shape, sizes = made("second order")
    exported = export_network(network, shape, tmp_path / "net.pt2", format="torch-export", described=ABOUT)
    image = torch.rand(4, 3, 96, 128)
    extra = {METADATA: ""}
    program = torch.export.load(exported.file, extra_files=extra).module()
    torch.testing.assert_close(program(image), network(image), rtol=0, atol=1e-5)
    assert exported.sizes == sizes and json.loads(extra[METADATA])["export"]["sizes"] == sizes


def test_a_file_that_answers_otherwise_is_not_kept(tmp_path: Path) -> None:
    class Counting(nn.Module):
        """A trace knows its example's mean for good."""

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image - float(image.mean())

    with pytest.raises(InputError, match="answers otherwise"):
        export_network(Counting(), (1, 8, 8), tmp_path / "net.ts", format="torchscript", described=ABOUT)
    assert not list(tmp_path.iterdir())


def test_an_adaptive_solver_is_refused_with_the_way_out(tmp_path: Path) -> None:
    network = ContinuousUNet(filters=(2, 2), solver=Solver(method="dopri5"))
    with pytest.raises(InputError, match=r"chooses its steps by the image.*rk4"):
        export_network(network, (3, 8, 8), tmp_path / "net.ts", format="torchscript", described=ABOUT)


def test_an_unknown_format_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    arguments = ["bundles", "export", RELEASED[0], "-o", str(tmp_path / "net"), "--format", "tensorrt"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "torchscript, onnx, torch-export" in result.stderr


@pytest.mark.parametrize("name", RELEASED)
def test_every_released_bundle_is_exported_with_what_an_inference_needs(name: str, tmp_path: Path) -> None:
    exported_tells_of_itself(name, "torchscript", tmp_path / "net")


@pytest.fixture
def one_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.export's recording, with which ONNX begins too, made once a test: it takes most of the time."""
    record, made = module._program, {}

    def recorded(network: nn.Module, example: torch.Tensor, least: list[int]) -> torch.export.ExportedProgram:
        if tuple(least) not in made:
            made[tuple(least)] = record(network, example, least)
        return made[tuple(least)]

    monkeypatch.setattr(module, "_program", recorded)


def one_of_each_network() -> list[str]:
    """Bundles whose networks are written alike differ in weights alone, which no recording depends on."""
    first: dict[str, str] = {}
    for name in RELEASED:
        config = yaml.safe_load((BUNDLES / name / "configs" / "inference.yaml").read_text(encoding="utf-8"))
        first.setdefault(json.dumps(config["network_def"], sort_keys=True), name)
    return list(first.values())


@pytest.mark.parametrize("name", one_of_each_network())
def test_every_released_network_is_exported_in_the_slow_formats_too(
    name: str, tmp_path: Path, one_recording: None
) -> None:
    for format in ("torch-export", "onnx"):
        exported_tells_of_itself(name, format, tmp_path / format)


def exported_tells_of_itself(name: str, format: str, file: Path) -> None:
    result = CliRunner().invoke(app, ["bundles", "export", name, "-o", str(file), "--format", format])
    assert result.exit_code == 0, result.output
    said = described(file, format)
    assert said["network_data_format"]["outputs"]["pred"]["channel_def"]["0"] == "background"
    assert said["export"]["format"] == format
    assert said["export"]["intensity"] and said["export"]["inferer"]["_target_"].startswith("pipeline.inference.")


def described(file: Path, format: str) -> dict:
    """What a file tells of itself, read as its format's users read it."""
    if format == "onnx":
        return json.loads(pytest.importorskip("onnx").load(file).metadata_props[0].value)
    extra = {METADATA: ""}
    torch.jit.load(file, _extra_files=extra) if format == "torchscript" else torch.export.load(file, extra_files=extra)
    return json.loads(extra[METADATA])
