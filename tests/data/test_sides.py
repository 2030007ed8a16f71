"""MONAI's transform gives the sides that numerics/sides.py gives, in the type that it was given."""

from __future__ import annotations

import torch
from monai.data import MetaTensor

from pipeline.data.sides import LeftRightd


def test_a_mask_becomes_left_and_right_and_stays_what_it_was():
    image = torch.full((1, 20, 8, 3), -1.0)
    image[:, 2:18] = 0.5  # the body: columns 2 to 17
    mask = torch.zeros(1, 20, 8, 3)
    mask[:, 4:7, 2:5] = mask[:, 12:15, 2:5] = 1
    found = LeftRightd("pred", image_key="image", body_above=0)(
        {"image": image, "pred": MetaTensor(mask, torch.eye(4))}
    )
    expected = mask * torch.where(torch.arange(20) < 10, 1, 2)[:, None, None]
    assert isinstance(found["pred"], MetaTensor) and torch.equal(found["pred"].as_tensor(), expected)
    assert found["image"] is image
