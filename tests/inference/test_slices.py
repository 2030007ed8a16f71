"""SquareGrid and AxialSliceInferer: padding, orientation and the way back, against the same done step by step."""

import numpy as np
import pytest
import torch

from pipeline.inference.export import label_volume
from pipeline.inference.slices import AxialSliceInferer
from pipeline.inference.square_grid import SquareGrid
from pipeline.io.resample import resize
from pipeline.io.volume import Volume


@pytest.fixture
def slices():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(3, 1, 51, 80)).astype(np.float32))


def test_to_network_is_padding_with_air_and_antialiased_resize(slices):
    padded = torch.full((3, 1, 80, 80), -1.0)
    padded[:, :, 14 : 14 + 51] = slices
    expected = resize(padded.numpy(), (32, 32), axes=(2, 3))
    np.testing.assert_allclose(SquareGrid((51, 80), 32).to_network(slices, -1.0), expected, atol=1e-5)


def test_a_slice_of_the_networks_own_size_goes_there_and_back_untouched():
    image = torch.randn(2, 1, 32, 32)
    grid = SquareGrid((32, 32), 32)
    torch.testing.assert_close(grid.to_network(image, -1.0), image)
    torch.testing.assert_close(grid.to_volume(image), image)


def test_flips_folded_into_the_matrices_equal_flipped_slices(slices):
    plain, flipped = SquareGrid((51, 80), 32), SquareGrid((51, 80), 32, flips=(True, True))
    torch.testing.assert_close(flipped.to_network(slices, 0.0), plain.to_network(slices.flip(2, 3), 0.0))
    maps = torch.randn(3, 1, 32, 32)
    torch.testing.assert_close(flipped.to_volume(maps), plain.to_volume(maps).flip(2, 3))


def test_pixels_that_are_not_square_keep_the_patients_proportions():
    """A disc in millimetres on pixels of 2 x 1 mm must be a disc on the network's grid."""
    x, y = np.indices((50, 100))
    disc = torch.from_numpy((np.hypot((x - 24.5) * 2, y - 49.5) < 30).astype(np.float32))[None, None]
    seen = SquareGrid((50, 100), 64, spacing=(2.0, 1.0)).to_network(disc, 0.0)[0, 0]
    width, height = (seen.amax(dim=1) > 0.5).sum(), (seen.amax(dim=0) > 0.5).sum()
    assert width == height and abs(int(width) - 60 / 100 * 64) <= 1


@pytest.mark.parametrize("shape", [(512, 512), (512, 796), (122, 101), (200, 200), (3, 5)])
def test_a_contour_comes_back_where_it_was(shape):
    """A map that is linear in position crosses zero at the same place on the slice's grid."""
    size, (n_x, n_y) = 200, shape
    whole = max(shape)
    position = (torch.arange(size) + 0.5) / size * whole - (whole - n_x) / 2  # in the slice's pixels, along X
    back = SquareGrid(shape, size).to_volume((position - n_x / 2).view(1, 1, size, 1).expand(1, 1, size, size))
    truth = torch.arange(n_x) + 0.5 - n_x / 2
    inner = slice(2, -2) if n_x > 10 else slice(None)
    assert (back[0, 0, inner, n_y // 2] - truth[inner]).abs().max() < max(0.1, whole / size) * 0.5


def test_a_map_without_a_positive_value_has_none_on_the_volumes_grid():
    maps = -torch.rand(5, 1, 32, 32)
    assert SquareGrid((51, 80), 32).to_volume(maps).max() <= 0
    assert SquareGrid((12, 9), 32).to_volume(maps).max() <= 0


def test_the_inferer_runs_slice_by_slice_whatever_the_batch():
    volume = torch.randn(1, 1, 20, 30, 7)
    network = lambda x: x * 2 + x.mean(dim=(1, 2, 3), keepdim=True)  # noqa: E731  depends on the whole slice
    one, many = AxialSliceInferer(size=24, batch_size=1), AxialSliceInferer(size=24, batch_size=4)
    torch.testing.assert_close(one(volume, network), many(volume, network))
    assert one(volume, network).shape == volume.shape


def test_the_inferer_refuses_what_is_not_one_volume():
    with pytest.raises(ValueError, match="one volume"):
        AxialSliceInferer()(torch.zeros(2, 1, 4, 4, 4), torch.nn.Identity())


def scan_labels(inferer, network):
    array = np.random.default_rng(0).normal(size=(24, 20, 11)).astype(np.float32)
    volume = Volume(array, np.diag([2.0, 2.0, 4.0, 1.0]))
    network = Network(network)
    parts = inferer.parts(
        volume, network, intensity=lambda sample: sample, device=torch.device("cpu"), everywhere=False
    )
    return label_volume(volume, parts).array, network.batches


class Network:
    """What is called, and how many slices it was given each time."""

    def __init__(self, network):
        self.network, self.batches = network, []

    def __call__(self, images):
        self.batches.append(len(images))
        return self.network(images)


def test_half_as_many_slices_at_once_down_to_one_give_the_same_labels():
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 1, 3, padding=1)
    )
    inferer, batches = AxialSliceInferer(size=16, batch_size=4), []
    with torch.inference_mode():
        whole, _ = scan_labels(inferer, network)
        assert 0 < whole.sum() < whole.size
        while (inferer := inferer.smaller()) is not None:
            divided, seen = scan_labels(inferer, network)
            batches.append(max(seen))
            np.testing.assert_array_equal(divided, whole)
    assert batches == [2, 1]
