"""What is kept of labels in several parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from pipeline.data.parts import LargestParts


def scattered():
    """Label 1 in parts of 12, 6, 5 and 1 voxels, the last two touching at a corner alone; label 2 in one of 2."""
    labels = np.zeros((12, 8, 4), np.uint8)
    labels[0:3, 0:2, 0:2] = 1
    labels[5:8, 0:2, 0] = 1
    labels[0:5, 5, 3] = 1
    labels[5, 6, 3] = 1
    labels[10, 6:8, 0] = 2
    return labels


@pytest.mark.parametrize(
    ("objects", "least_share", "kept"),
    [
        (1, 0.0, {12, 6, 5, 1}),
        (1, 1 / 12, {12, 6, 5, 1}),
        (1, 0.4, {12, 6, 5}),
        (1, 0.5, {12, 6}),
        (1, 0.51, {12}),
        (1, 1.0, {12}),
        (2, 5 / 6, {12, 6, 5}),
        (2, 0.9, {12, 6}),
        (9, 1.0, {12, 6, 5, 1}),  # fewer parts than objects: all are kept
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_parts_are_kept_by_their_share_of_the_largest_of_their_label(objects, least_share, kept, order):
    labels = scattered().copy(order)
    parts = [labels[0:3, 0:2, 0:2], labels[5:8, 0:2, 0], labels[0:5, 5, 3], labels[5:6, 6, 3]]  # views
    before = labels.copy()
    found = LargestParts(objects=objects, least_share=least_share)(labels)
    assert np.array_equal(labels, before)  # what was given stays as it was
    for part in parts:
        if part.size not in kept:
            part[...] = 0
    assert np.array_equal(found, labels)


def test_a_tensor_of_one_channel_stays_what_it_was():
    labels = MetaTensor(torch.from_numpy(scattered())[None].float(), torch.diag(torch.tensor([2.0, 2, 3, 1])))
    found = LargestParts(least_share=0.5)(labels)
    assert isinstance(found, MetaTensor) and found.dtype == torch.float32
    assert torch.equal(found.affine, labels.affine)
    assert np.array_equal(found.numpy()[0], LargestParts(least_share=0.5)(scattered()))


def test_nothing_stays_nothing():
    assert not LargestParts(least_share=0.5)(np.zeros((4, 5), np.uint8)).any()


@pytest.mark.parametrize(("objects", "least_share"), [(1, -0.1), (1, 1.5), (1, float("nan")), (0, 0.5)])
def test_shares_are_from_0_to_1_and_objects_are_there(objects, least_share):
    with pytest.raises(ValueError, match=f"objects is {objects}, least_share {least_share}"):
        LargestParts(objects=objects, least_share=least_share)
