"""Folding voxels into channels: nothing is lost, and the network's cells are the blocks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.networks.folded import Folded, fold, unfold


@pytest.mark.parametrize("factors", [(2, 2, 1), (1, 3, 2), (1, 1, 1)])
def test_what_is_folded_is_unfolded(factors):
    image = torch.randn(2, 3, 4, 6, 2)
    assert torch.equal(unfold(fold(image, factors), factors), image)


def test_in_a_plane_it_is_torchs_pixel_unshuffle():
    image = torch.randn(2, 3, 4, 6)
    assert torch.equal(fold(image, (2, 2)), F.pixel_unshuffle(image, 2))


def test_a_cell_holds_the_voxels_of_its_block():
    image = torch.randn(1, 1, 4, 4, 3)
    assert set(fold(image, (2, 2, 1))[0, :, 1, 0, 2].tolist()) == set(image[0, 0, 2:4, 0:2, 2].flatten().tolist())


def test_a_network_that_does_nothing_gives_the_image_back():
    image = torch.randn(1, 1, 4, 4, 3)
    assert torch.equal(Folded(nn.Identity(), factors=(2, 2, 1))(image), image)


def test_sizes_that_do_not_fold_are_refused():
    with pytest.raises(ValueError, match=r"multiples of \(2, 2, 1\)"):
        Folded(nn.Identity(), factors=(2, 2, 1))(torch.zeros(1, 1, 4, 5, 3))
