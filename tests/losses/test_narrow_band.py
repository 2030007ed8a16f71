"""NarrowBandLoss: zero at the truth, closed forms, where its gradient looks, padding."""

import math

import pytest
import torch

from pipeline.losses.narrow_band import NarrowBandLoss, OverlapBandLoss


def test_it_is_zero_exactly_at_the_truth_and_only_there():
    phi = torch.linspace(-10, 10, 50).reshape(1, 1, 5, 10)
    assert NarrowBandLoss(band=3)(phi, phi) == 0
    assert NarrowBandLoss(band=3)(phi + 0.1, phi) > 0


def test_a_constant_pair_has_the_closed_form():
    loss = NarrowBandLoss(band=3)(torch.full((2, 1, 4, 4), 1.5), torch.full((2, 1, 4, 4), -6.0))
    assert loss.item() == pytest.approx((math.tanh(0.5) + math.tanh(2)) ** 2, rel=1e-6)


def test_a_wide_band_is_the_mean_squared_error():
    a, b = torch.randn(1, 1, 8, 8), torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(NarrowBandLoss(band=1e3)(a, b) * 1e6, (a - b).square().mean(), rtol=1e-4, atol=1e-6)


def test_the_gradient_fades_with_the_distance_from_the_contour():
    target = torch.tensor([0.0, 2.0, 4.0, 8.0, 16.0])
    prediction = (target + 0.5).requires_grad_()
    NarrowBandLoss(band=4)(prediction, target).backward()
    assert prediction.grad.diff().lt(0).all()


def test_padded_pixels_do_not_count():
    a, b = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 4, 4)
    mask = torch.zeros(1, 1, 4, 4)
    assert NarrowBandLoss()(a, b, mask) == 0
    mask[..., :2] = 1
    torch.testing.assert_close(NarrowBandLoss()(a, b, mask), NarrowBandLoss()(a[..., :2], b[..., :2]))


def test_unequal_shapes_and_a_band_of_zero_are_refused():
    with pytest.raises(ValueError, match="must be equal in shape"):
        NarrowBandLoss()(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, 2))
    with pytest.raises(ValueError, match="positive"):
        NarrowBandLoss(band=0)


def test_overlap_and_band_are_added_as_written():
    torch.manual_seed(0)
    p, q = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    q[1] = -3.0  # an image without the object
    truth, probability = (q > 0).float(), torch.sigmoid(p)
    entropy = -(truth * probability.log() + (1 - truth) * (1 - probability).log()).mean()
    dice = 2 * (truth * probability).sum() / (truth.sum() + probability.sum())  # of the batch, not of each image
    near = (torch.tanh(p / 4) - torch.tanh(q / 4)).square().mean()
    found = OverlapBandLoss(weight=7.0)(p, q)
    assert found.item() == pytest.approx((entropy + 1 - dice + 7 * near).item(), rel=1e-4)


def test_padded_pixels_do_not_count_by_overlap_either():
    torch.manual_seed(0)
    p, q = torch.randn(2, 1, 4, 6, requires_grad=True), torch.randn(2, 1, 4, 6)
    mask = torch.zeros(2, 1, 4, 6)
    nothing = OverlapBandLoss()(p, q, mask)
    nothing.backward()
    assert nothing == 0 and not p.grad.any()
    mask[..., :3] = 1
    found, alone = OverlapBandLoss()(p, q, mask), OverlapBandLoss()(p[..., :3], q[..., :3])
    torch.testing.assert_close(found, alone)
    found.backward()
    assert not p.grad[..., 3:].any() and p.grad[..., :3].all()


def test_a_map_far_on_the_right_side_of_its_contour_has_next_to_no_loss():
    q = torch.full((1, 1, 8, 8), -20.0)
    q[..., 2:6, 2:6] = 20.0
    assert OverlapBandLoss()(q, q).item() < 1e-4
    assert OverlapBandLoss()(-q, q).item() > 20  # cross-entropy of 20 pixels on the wrong side
