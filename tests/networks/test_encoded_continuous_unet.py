"""EncodedContinuousUNet: sizes, weight of the file, gradients, configs, export."""

import pytest
import torch
from monai.bundle import ConfigParser

from pipeline.errors import InputError
from pipeline.networks.cost import cost, parameters
from pipeline.networks.encoded_continuous_unet import EncodedContinuousUNet
from pipeline.ode.blocks import SecondOrderBlock
from pipeline.ode.solve import Solver

SMALL = (2, 4, 4, 4, 4, 4)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return EncodedContinuousUNet(filters=SMALL, out_channels=2).eval()


@pytest.mark.parametrize("size", [(1, 1), (33, 50), (64, 64)])
@torch.no_grad()
def test_logits_have_the_size_of_the_image(network, size):
    logits = network(torch.rand(2, 3, *size))
    assert logits.shape == (2, 2, *size) and logits.isfinite().all()


def test_the_default_fits_into_12_megabytes_of_float16():
    for encoder in ("lite0", "lite1", "lite2"):
        assert parameters(EncodedContinuousUNet(encoder=encoder)) * 2 < 12e6


@torch.no_grad()
def test_every_level_solves_an_equation(network):
    assert cost(network, (3, 32, 32)).evaluations == 6 * 4
    assert sum(isinstance(part, SecondOrderBlock) for part in network.modules()) == 6
    assert all(up.groups == 2 for up in network.decoder.up)  # x and v apart between levels


def test_decoder_and_encoder_learn(network):
    (network(torch.rand(1, 3, 64, 64)) * torch.randn(64, 64)).sum().backward()
    kernels = {name: weight for name, weight in network.named_parameters() if weight.dim() == 4}
    assert [name for name, kernel in kernels.items() if not kernel.grad.any()] == []
    network.zero_grad()


@torch.no_grad()
def test_pixels_have_values_of_their_own(network):
    logits = network(torch.rand(1, 3, 64, 64))
    assert (logits[..., 1:] - logits[..., :-1]).abs().min() > 0


def test_a_config_names_it_and_its_rival_on_the_same_encoder():
    settings = {
        "_target_": "pipeline.networks.encoded_continuous_unet.EncodedContinuousUNet",
        "in_channels": 1,
        "filters": list(SMALL),
        "solver": {"_target_": "pipeline.ode.solve.Solver", "steps": 2},
    }
    parser = ConfigParser({"ours": settings, "rival": {**settings, "block": "plain"}})
    ours, rival = parser.get_parsed_content("ours"), parser.get_parsed_content("rival")
    assert {part.solver for part in ours.modules() if hasattr(part, "solver")} == {Solver(steps=2)}
    assert not any(hasattr(part, "solver") for part in rival.modules())


@torch.no_grad()
def test_it_leaves_python():
    network = EncodedContinuousUNet(filters=SMALL, solver=Solver(method="euler")).eval()
    image, other = torch.rand(1, 3, 40, 64), torch.rand(1, 3, 70, 33)
    torch.testing.assert_close(torch.export.export(network, (image,)).module()(image), network(image))
    torch.testing.assert_close(torch.jit.trace(network, image)(other), network(other))


@pytest.mark.parametrize("filters", [(8,), (8, 8, 8, 8, 8, 8, 8)])
def test_filters_without_a_level_of_the_encoder_each_are_refused(filters):
    with pytest.raises(InputError, match="must have two to six numbers"):
        EncodedContinuousUNet(filters=filters)


@torch.no_grad()
def test_without_its_last_level_it_keeps_what_the_whole_one_learned_on_the_others(network):
    torch.manual_seed(1)
    shorter = EncodedContinuousUNet(filters=SMALL[:-1], out_channels=2).eval().start_from(network.state_dict())
    image = torch.rand(1, 3, 48, 32)
    assert (
        shorter(image).shape == (1, 2, 48, 32) and parameters(shorter.encoder) * 4 < parameters(network.encoder) + 4e4
    )
    padded = torch.nn.functional.pad(image, (0, 0, 0, 16))
    for ours, theirs in zip(shorter.encoder(padded), network.encoder(padded), strict=False):
        torch.testing.assert_close(ours, theirs)
    with pytest.raises(InputError, match="none of them fits"):
        shorter.start_from({"conv.weight": torch.zeros(1)})
