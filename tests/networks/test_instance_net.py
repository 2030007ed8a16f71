"""The network of one real-valued output: shapes, locality, positions, other weights to begin with."""

from __future__ import annotations

import pytest
import torch

from pipeline.errors import InputError
from pipeline.networks.instance_net import START_BIAS, InstanceNet

SMALL = {"filters": (4, 4, 4, 4), "encoder": "lite0"}


def image(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("size", [(32, 32), (33, 47)])
@pytest.mark.parametrize("period", [None, 64])
def test_any_size_comes_back_as_one_real_number_a_pixel(size, period):
    network = InstanceNet(**SMALL, position_period=period).eval()
    with torch.no_grad():
        assert network(image(2, 3, *size)).shape == (2, 1, *size)
    assert network.head.bias.item() == START_BIAS  # no term of the loss begins dead


def test_a_shift_by_the_period_shifts_the_map_and_one_by_half_of_it_does_not():
    torch.manual_seed(0)
    network = InstanceNet(**SMALL, position_period=64).eval()
    constant = torch.full((1, 3, 448, 64), 0.3)
    with torch.no_grad():
        middle = network(constant)[0, 0, 160:288]  # where the padding at the ends is out of sight
    torch.testing.assert_close(middle[:64], middle[64:])
    assert (middle[:64] - middle[32:96]).abs().max() > 1e-4


def test_what_lies_far_away_changes_nothing():
    network = InstanceNet(**SMALL).eval()
    here, elsewhere = image(1, 3, 32, 384), image(1, 3, 32, 384)
    elsewhere[..., 224:] = image(1, 3, 32, 160, seed=1)
    with torch.no_grad():
        one, other = network(here), network(elsewhere)
    torch.testing.assert_close(one[..., :64], other[..., :64], rtol=0, atol=0)
    assert not torch.equal(one[..., 300:], other[..., 300:])


def test_settings_that_make_no_network_are_refused():
    with pytest.raises(InputError, match="two to six"):
        InstanceNet(filters=(8,))
    with pytest.raises(InputError, match="multiple of 8"):
        InstanceNet(filters=(4, 4, 4, 4), position_period=20)
    with pytest.raises(InputError, match="each of 4 levels"):
        InstanceNet(filters=(4, 4, 4, 4), refinements=(1, 1, 1, 1, 1))
    with pytest.raises(InputError, match="each of 4 levels"):
        InstanceNet(filters=(4, 4, 4, 4), refinements=(1, -1))


def test_a_map_begins_with_what_classes_have_taught_but_for_the_last_layer():
    classes, one = InstanceNet(**SMALL, out_channels=3), InstanceNet(**SMALL)
    head = one.head.weight.clone()
    own = one.start_from(classes.state_dict()).state_dict()
    for name, tensor in classes.state_dict().items():
        assert name.startswith("head.") or torch.equal(own[name], tensor), name
    assert torch.equal(one.head.weight, head) and one.head.bias.item() == START_BIAS
    other = InstanceNet(**SMALL).start_from(one.state_dict())
    assert torch.equal(other.head.weight, head)


def test_a_refined_network_begins_as_the_one_whose_weights_it_takes():
    torch.manual_seed(0)
    plain = InstanceNet(**SMALL).eval()
    refined = InstanceNet(**SMALL, refinements=(2, 1)).start_from(plain.state_dict()).eval()
    with torch.no_grad():
        torch.testing.assert_close(refined(image(1, 3, 40, 40)), plain(image(1, 3, 40, 40)), rtol=0, atol=0)
    refined.train()(image(2, 3, 40, 40)).square().mean().backward()
    scales = [part.norm.weight for level in refined.refinements for part in level]
    assert len(scales) == 3
    assert all(scale.grad.abs().max() > 0 for scale in scales)  # and it learns from there
    again = InstanceNet(**SMALL, refinements=(2, 1)).start_from(refined.state_dict())
    for name, tensor in refined.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_a_network_without_position_channels_begins_with_the_rest_of_what_was_learned():
    torch.manual_seed(0)
    with_places = InstanceNet(**SMALL, position_period=64).eval()
    for merge in with_places.merges:
        with torch.no_grad():
            merge.conv.weight[:, -4:] = 0  # places that say nothing: the networks are then one
    without = InstanceNet(**SMALL).start_from(with_places.state_dict()).eval()
    with torch.no_grad():
        torch.testing.assert_close(without(image(1, 3, 40, 40)), with_places(image(1, 3, 40, 40)))
    with pytest.raises(RuntimeError, match="size mismatch"):
        with_places.start_from(without.state_dict())


def test_weights_of_another_network_are_refused():
    wide = InstanceNet(filters=(8, 8, 8, 8), encoder="lite0")
    with pytest.raises(RuntimeError, match="size mismatch"):
        InstanceNet(**SMALL).start_from(wide.state_dict())
    refined = InstanceNet(**SMALL, refinements=(1,))
    with pytest.raises(RuntimeError, match=r"Unexpected key.*refinements"):
        InstanceNet(**SMALL).start_from(refined.state_dict())
    with pytest.raises(RuntimeError, match=r"Missing key.*refinements"):
        InstanceNet(**SMALL, refinements=(2,)).start_from(refined.state_dict())
