"""RoIAlign against values known by hand, masks against counting, and a frozen network under a head that learns."""

from __future__ import annotations

import pytest
import torch

from pipeline.networks.instance_head import Candidates, InstanceHead, VerifiedInstanceNet, aligned_masks, roi_align
from pipeline.networks.instance_net import InstanceNet


def slope(height: int = 12, width: int = 16) -> torch.Tensor:
    """(2, H, W): the row and the column of each pixel's centre, in edges."""
    rows, columns = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    return torch.stack([rows[:, None].expand(height, width), columns.expand(height, width)])


def test_of_a_slope_each_bin_has_the_value_at_its_centre() -> None:
    boxes = torch.tensor([[1.0, 2.0, 9.0, 10.0], [2.3, 4.1, 6.3, 12.1]])
    found = roi_align(slope(), boxes, size=4)
    for box, crop in zip(boxes, found, strict=True):
        high, wide = (box[2:] - box[:2]) / 4
        torch.testing.assert_close(crop[0], (box[0] + high * (torch.arange(4) + 0.5))[:, None].expand(4, 4))
        torch.testing.assert_close(crop[1], (box[1] + wide * (torch.arange(4) + 0.5)).expand(4, 4))


def test_a_box_of_bins_of_two_by_two_pixels_takes_their_means() -> None:
    image = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = roi_align(image, torch.tensor([[2.0, 0.0, 6.0, 4.0]]), size=2)  # samples are the pixels' centres
    torch.testing.assert_close(found[0, 0], image[0, 2:6, 0:4].reshape(2, 2, 2, 2).mean(dim=(1, 3)))


def test_beyond_the_map_is_its_nearest_pixel_and_no_mask() -> None:
    image = torch.arange(16.0).reshape(1, 4, 4)
    box = torch.tensor([[-8.0, -8.0, -4.0, -4.0]])
    assert (roi_align(image, box, size=2) == 0).all()
    everywhere = candidates(torch.ones(1, 4, 4, dtype=torch.int32), [[0, 0, 4, 4]])
    assert (aligned_masks(everywhere, box, size=2) == 0).all()
    half = aligned_masks(everywhere, torch.tensor([[0.0, -4.0, 4.0, 4.0]]), size=2)
    torch.testing.assert_close(half[0, 0], torch.tensor([[0.0, 1.0], [0.0, 1.0]]))


def candidates(maps: torch.Tensor, boxes: list[list[float]], number: int = 1) -> Candidates:
    n = len(boxes)
    numbers = torch.full((n,), number)
    return Candidates(
        maps=maps, map=torch.zeros(n, dtype=torch.long), number=numbers, boxes=torch.tensor(boxes).float()
    )


def test_a_mask_is_that_of_its_own_number() -> None:
    maps = torch.tensor([[[1, 1, 2, 2]] * 4])
    found = aligned_masks(candidates(maps, [[0, 0, 4, 4]], number=2), torch.tensor([[0.0, 0.0, 4.0, 4.0]]), size=2)
    torch.testing.assert_close(found[0, 0], torch.tensor([[0.0, 1.0], [0.0, 1.0]]))


def test_the_score_is_between_its_two_parts() -> None:
    logits = torch.tensor([[2.0, -1.0]])
    parts = logits.sigmoid()[0]
    for alpha in (0.0, 0.3, 1.0):
        expected = alpha * parts[1] + (1 - alpha) * parts[0]
        assert float(InstanceHead(alpha=alpha).scores(logits)) == pytest.approx(float(expected))


def test_the_first_output_is_the_map_and_only_the_head_learns() -> None:
    torch.manual_seed(0)
    network = InstanceNet(filters=(4, 6, 8))
    whole = VerifiedInstanceNet(network=network, head=InstanceHead(in_channels=1 + 4 + 3, filters=(8, 8, 8))).train()
    assert not network.training and whole.head.training
    image = torch.randn(2, 3, 21, 30)
    outputs = whole(image)
    assert outputs.shape == (2, 8, 21, 30)
    torch.testing.assert_close(outputs[:, :1], network(image))
    torch.testing.assert_close(network.head(outputs[:, 1:5]), outputs[:, :1])
    torch.testing.assert_close(outputs[:, 5:], image)
    assert not outputs.requires_grad  # the map network learns nothing
    other = VerifiedInstanceNet(
        network=InstanceNet(filters=(4, 6, 8)), head=InstanceHead(in_channels=8, filters=(8, 8, 8))
    )
    for weights in (network.state_dict(), whole.state_dict()):  # of the map alone, of both
        torch.testing.assert_close(other.start_from(weights).eval()(image), whole(image))
    torch.testing.assert_close(other.head.last.weight, whole.head.last.weight)
    torch.testing.assert_close(torch.jit.script(whole.eval())(image), whole(image))
