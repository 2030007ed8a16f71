"""Masked: what is padded weighs nothing, and a mask that is missing is noticed."""

import pytest
import torch

from pipeline.losses.masked import Masked
from pipeline.losses.narrow_band import NarrowBandLoss


def test_a_padded_crop_costs_what_its_picture_costs():
    loss = NarrowBandLoss(band=3.0)
    prediction, target = 5 * torch.randn(2, 1, 6, 6), 5 * torch.randn(2, 1, 6, 6)
    mask = torch.zeros(2, 1, 6, 6)
    mask[..., 1:5, :4] = 1
    picture = loss(prediction[..., 1:5, :4], target[..., 1:5, :4])
    torch.testing.assert_close(Masked(loss)(prediction, torch.cat([target, mask], dim=1)), picture)
    assert not torch.isclose(picture, loss(prediction, target))


def test_padding_gives_no_gradient():
    prediction = torch.randn(1, 1, 4, 4, requires_grad=True)
    mask = torch.ones(1, 1, 4, 4)
    mask[..., 3] = 0
    Masked(NarrowBandLoss())(prediction, torch.cat([torch.randn(1, 1, 4, 4), mask], dim=1)).backward()
    assert not prediction.grad[..., 3].any() and prediction.grad[..., :3].all()


def test_a_target_without_its_mask_is_refused():
    with pytest.raises(ValueError, match="one channel more than prediction"):
        Masked(NarrowBandLoss())(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
