"""The mean over mirrors knows no side: what it says of a mirrored image is the mirror of what it says, bit for bit."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.inference.export import whole_logits
from pipeline.inference.flips import mirrored
from pipeline.inference.patches import VolumePatchInferer
from pipeline.inference.pictures import PictureInferer
from pipeline.inference.slices import AxialSliceInferer
from pipeline.io.volume import Volume


def one_sided(dims: int) -> nn.Module:
    """A convolution of random weights: no mirror of an image gives it the mirror of its answer."""
    torch.manual_seed(0)
    return (nn.Conv2d, nn.Conv3d)[dims - 2](1, 2, 3, padding=1)


class Counted:
    def __init__(self, network) -> None:
        self.network, self.calls = network, 0

    def __call__(self, images):
        self.calls += 1
        return self.network(images)


@pytest.mark.parametrize(("dims", "axes"), [(2, (1,)), (2, (0, 1)), (3, (0,)), (3, (0, 1, 2))])
@torch.no_grad()
def test_a_mirrored_image_gives_the_mirrored_answer_to_the_last_bit(dims, axes):
    plain, images = one_sided(dims), torch.randn(2, 1, *(6, 7, 4)[:dims])
    counted = Counted(plain)
    network = mirrored(counted, axes)
    answer = network(images)
    assert counted.calls == 2 ** len(axes)
    for axis in range(dims):
        turned = network(images.flip(2 + axis)).flip(2 + axis)
        assert torch.equal(turned, answer) == (axis in axes)
    turns = [turn for n in range(len(axes) + 1) for turn in combinations([2 + axis for axis in axes], n)]
    torch.testing.assert_close(answer, torch.stack([plain(images.flip(t)).flip(t) for t in turns]).mean(dim=0))


def test_without_axes_the_network_is_called_as_it_is():
    network = one_sided(2)
    assert mirrored(network, ()) is network


CPU = torch.device("cpu")
ROADS = [
    (PictureInferer(size=16), (13, 21), 2),
    (AxialSliceInferer(size=16, batch_size=4), (12, 12, 5), 2),
    (VolumePatchInferer(patch=(8, 8, 4), spacing_mm=None), (8, 8, 4), 3),
]


@pytest.mark.parametrize(("inferer", "shape", "dims"), ROADS, ids=["pictures", "slices", "patches"])
@torch.no_grad()
def test_on_every_road_the_answer_turns_with_the_image(inferer, shape, dims):
    """Mirrored as it is stored, without a word in the affine."""
    network = mirrored(one_sided(dims), range(dims))
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    def answer(array):
        image = Volume(array[..., None], np.eye(3)) if len(shape) == 2 else Volume(array, np.eye(4))
        parts = inferer.parts(image, network, intensity=lambda sample: sample, device=CPU, everywhere=True)
        return whole_logits(image, parts).numpy()

    straight = answer(values)
    assert straight.shape == (2, *shape)
    for axis in range(dims):
        np.testing.assert_allclose(np.flip(answer(np.flip(values, axis).copy()), 1 + axis), straight, atol=1e-5)
