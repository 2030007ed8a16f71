"""DistanceUNet: shapes, where it starts, what it refuses."""

import pytest
import torch

from pipeline.networks.distance_unet import DistanceUNet


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return DistanceUNet(features=(8, 8, 16, 16, 16, 8), out_channels=2, band=4.0).eval()


@pytest.mark.parametrize("size", [(32, 32), (34, 50)])
def test_the_map_has_the_size_of_the_image(network, size):
    assert network(torch.randn(2, 1, *size)).shape == (2, 2, *size)


def test_before_training_everything_is_far_outside(network):
    distances = network(torch.randn(4, 1, 32, 32))
    assert distances.mean() < -network.band
    assert (distances > 0).float().mean() < 0.01


def test_neighbouring_pixels_have_values_of_their_own(network):
    """The folding must not give a 2 x 2 block one value: the map would be as coarse as the network's grid."""
    distances = network(torch.randn(1, 1, 32, 32))
    assert (distances[..., 0::2] - distances[..., 1::2]).abs().min() > 0


def test_an_odd_size_is_refused_with_the_way_out(network):
    with pytest.raises(ValueError, match="pad it by one pixel"):
        network(torch.zeros(1, 1, 33, 32))
