"""The second stage: candidates are pooled once, the best of those that overlap is kept, and the head learns which."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import InputError
from pipeline.inference.grouping import ModeGrouping
from pipeline.inference.verification import (
    CandidateGrouping,
    VerificationLoss,
    VerifiedGrouping,
    best_overlaps,
    pooled,
    suppressed,
)
from pipeline.networks.instance_head import InstanceHead, VerifiedInstanceNet
from pipeline.networks.instance_net import InstanceNet


def two_maps():
    """A merged object and its two halves, and one that both maps have."""
    merged, parted = np.zeros((12, 20), np.int32), np.zeros((12, 20), np.int32)
    merged[1:5, 1:9], merged[7:11, 12:18] = 1, 2
    parted[1:5, 1:5], parted[1:5, 5:9], parted[7:11, 12:18] = 1, 2, 3
    return merged, parted


def test_equal_candidates_are_pooled_once() -> None:
    found = pooled(two_maps())
    assert list(zip(found.map.tolist(), found.number.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert found.boxes[2].tolist() == [1, 1, 5, 5]
    assert len(pooled([np.zeros((3, 4), np.int32)] * 2).number) == 0


def test_of_candidates_that_overlap_the_best_are_kept() -> None:
    merged, parted = two_maps()
    found = pooled([merged, parted])
    np.testing.assert_array_equal(suppressed(found, np.array([0.9, 0.8, 0.7, 0.6])), merged)
    np.testing.assert_array_equal(suppressed(found, np.array([0.6, 0.8, 0.9, 0.7])), parted)
    one = suppressed(found, np.array([0.4, 0.3, 0.9, 0.2]))
    np.testing.assert_array_equal(one, parted == 1)  # what scores below a half is rejected
    assert not suppressed(found, np.zeros(4)).any()


def test_a_candidate_s_overlap_is_with_the_object_that_it_fits_best() -> None:
    merged, parted = two_maps()
    found = best_overlaps(pooled([merged, parted]), (parted == 1) + 5 * (parted == 2))
    assert found.tolist() == pytest.approx([16 / 32, 0, 1, 1])


def outputs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """f with true objects and, dark in the image, false ones; labels of the true. (1, 2, H, W) and (1, 1, H, W)."""
    draw = np.random.default_rng(seed)
    f, image, labels = np.zeros((64, 64), np.float32), draw.normal(0, 0.1, (64, 64)), np.zeros((64, 64))
    for k in range(9):
        window = np.s_[4 + 20 * (k // 3) : 16 + 20 * (k // 3), 4 + 20 * (k % 3) : 16 + 20 * (k % 3)]
        f[window] = 2
        if draw.random() < 0.5:
            image[window] += 1
            labels[window] = k + 1
    both = np.stack([f, image]).astype(np.float32)[None]
    return torch.from_numpy(both), torch.from_numpy(labels)[None, None]


def test_a_head_learns_to_reject_what_is_none_and_loss_ignores_the_order_of_labels() -> None:
    torch.manual_seed(0)
    head = InstanceHead(in_channels=2, filters=(8, 8, 8), size=6)
    loss = VerificationLoss(head=head)
    given, labels = outputs()
    assert float(loss(given, labels)) == float(loss(given, torch.where(labels > 0, 20 - labels, 0)))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for step in range(40):
        optimizer.zero_grad()
        loss(*outputs(step % 5)).backward()
        optimizer.step()
    unseen, truth = outputs(99)
    found = VerifiedGrouping(head=head)(unseen[0].numpy())
    np.testing.assert_array_equal(found > 0, truth[0, 0].numpy() > 0)
    assert 0 < (truth > 0).sum() < (unseen[0, 0] > 0).sum()


def test_maps_without_a_candidate_have_no_loss_and_no_object() -> None:
    head = InstanceHead(in_channels=1)
    nothing = torch.zeros(1, 1, 16, 16)
    loss = VerificationLoss(head=head)(nothing, nothing)
    loss.backward()
    assert float(loss) == 0
    assert not VerifiedGrouping(head=head)(nothing[0].numpy()).any()


def test_candidates_are_the_objects_of_every_grouping() -> None:
    """A valley of 1.5 between two squares: one object, two above 1.8, and two more with a border given back."""
    f = np.zeros((12, 21), np.float32)
    f[3:9, 2:9] = f[3:9, 11:18] = 2
    f[3:9, 9:11] = 1.5
    whole, parted, wide = ModeGrouping(), ModeGrouping(inside=1.8), ModeGrouping(inside=1.8, border=1)
    found = CandidateGrouping(groupings=[whole, parted, wide])(f)
    assert found.map.tolist() == [0, 1, 1, 2, 2]
    assert found.boxes[0].tolist() == [3, 2, 9, 18] and found.boxes[3].tolist()[:2] == [2, 1]


def _with_weights(folder: Path) -> tuple[VerifiedInstanceNet, VerifiedGrouping, dict[str, torch.Tensor]]:
    """A network as a config makes it, a grouping with its head, and the weights that lie in a file."""
    torch.manual_seed(0)
    made, trained = (
        VerifiedInstanceNet(network=InstanceNet(filters=(4, 4, 4)), head=InstanceHead(in_channels=8)) for _ in range(2)
    )
    torch.save(trained.state_dict(), folder / "model.pt")
    return made, VerifiedGrouping(head=made.head, weights=folder / "model.pt"), trained.state_dict()


def test_a_head_that_an_engine_left_as_made_is_read_from_the_weights(tmp_path: Path) -> None:
    made, grouping, weights = _with_weights(tmp_path)
    deepcopy(made).load_state_dict(weights)  # as MONAI Label does
    grouping(np.zeros((8, 16, 16), np.float32))
    assert all(torch.equal(value, weights[f"head.{name}"]) for name, value in made.head.state_dict().items())


def test_a_head_with_weights_keeps_them(tmp_path: Path) -> None:
    made, grouping, weights = _with_weights(tmp_path)
    others = {name: value + 1 for name, value in weights.items()}
    made.load_state_dict(others)  # as `evoseg segment --weights` does
    grouping(np.zeros((8, 16, 16), np.float32))
    assert torch.equal(made.head.last.weight, others["head.last.weight"])


def test_a_head_without_weights_is_refused(tmp_path: Path) -> None:
    _, grouping, _ = _with_weights(tmp_path)
    (tmp_path / "model.pt").unlink()
    with pytest.raises(InputError, match="is missing: the second stage"):
        grouping(np.zeros((8, 16, 16), np.float32))
