"""A network with an output layer: what goes through, what is stored, and that a config can write it."""

import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn

from pipeline.layers.inverse_evolution import HeatFlow, InverseEvolution
from pipeline.layers.soft_threshold_dynamics import SoftThresholdDynamics
from pipeline.layers.volume_preserving import VolumePreserving
from pipeline.networks.compose import OneLogit, WithOutputLayer

CONFIG = {
    "network_def": {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 3, "padding": 1},
    "prior": {
        "_target_": "pipeline.layers.inverse_evolution.InverseEvolution",
        "evolution": {"_target_": "pipeline.layers.inverse_evolution.HeatFlow", "spatial_dims": 2},
        "layers": 3,
    },
    "network": {
        "_target_": "pipeline.networks.compose.WithOutputLayer",
        "network": "@network_def",
        "prior": "@prior",
    },
}


def test_the_prior_gets_what_the_network_makes_of_all_inputs():
    together = WithOutputLayer(nn.Bilinear(3, 4, 2), nn.Softmax(dim=1))
    a, b = torch.randn(5, 3), torch.randn(5, 4)
    assert torch.equal(together(a, b), together.network(a, b).softmax(1))


def test_a_config_puts_layers_behind_a_network_for_training_only():
    parser = ConfigParser(CONFIG)
    network, plain = parser.get_parsed_content("network"), parser.get_parsed_content("network_def")
    image = torch.randn(1, 1, 8, 8)
    logits = plain(image)
    assert torch.equal(network.eval()(image), logits)
    expected = InverseEvolution(HeatFlow(), layers=3)(logits)
    torch.testing.assert_close(network.train()(image), expected)


@pytest.mark.parametrize("layers", [0, 5])
def test_the_inner_network_holds_all_weights(layers):
    plain = nn.Conv2d(1, 2, 3)
    together = WithOutputLayer(plain, InverseEvolution(HeatFlow(), layers=layers))
    assert {id(p) for p in together.parameters()} == {id(p) for p in plain.parameters()}
    assert together.network.state_dict().keys() == plain.state_dict().keys()


def test_what_is_called_by_name_goes_to_the_prior():
    class Scaled(nn.Module):
        def forward(self, logits, factor):
            return logits * factor

    together = WithOutputLayer(nn.Linear(3, 2), Scaled())
    a = torch.randn(5, 3)
    assert torch.equal(together(a, factor=2), together.network(a) * 2)


def test_a_network_of_one_logit_gets_the_prior_of_its_two_classes():
    logits = torch.randn(2, 1, 8, 9, dtype=torch.float64)
    torch.testing.assert_close(OneLogit(nn.Identity())(logits), logits)
    dynamics = SoftThresholdDynamics(spatial_dims=2, entropy=0.5)
    both = dynamics(torch.cat([torch.zeros_like(logits), logits], dim=1)).softmax(dim=1)
    torch.testing.assert_close(OneLogit(dynamics)(logits).sigmoid(), both[:, 1:])


def test_a_picture_without_the_object_has_a_finite_loss_and_gradient_beside_one_with():
    logits = torch.randn(2, 1, 8, 9, requires_grad=True)
    prior = OneLogit(VolumePreserving(SoftThresholdDynamics(spatial_dims=2, iterations=2)))
    out = prior(logits, at_least=torch.tensor([[72.0, 0.0], [50.0, 22.0]]))
    target = torch.zeros_like(out)
    target[1, 0, :2] = 1
    nn.functional.binary_cross_entropy_with_logits(out, target).backward()
    assert (out[0] < -100).all() and out.isfinite().all()
    assert logits.grad.isfinite().all() and logits.grad[1].abs().sum() > 0 == logits.grad[0].abs().sum()
