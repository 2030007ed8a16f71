r"""The second stage: candidates of several groupings, each scored by a head, of those that overlap the best kept.

    candidates  objects of the map by every grouping (grouping.py, valleys.py); equal ones once             (1)
    kept        by falling score (networks/instance_head.py): those of `least_score` or more of which no    (2)
                kept one covers more than half, nor lies by more than half within them

The wide bandwidth parts what the map holds apart clearly, the narrow one also what it does not; a border moves edges
outwards. Where they differ, a candidate and its parts or its likes overlap, and (2) decides. A network here is a
VerifiedInstanceNet: its outputs are f and the features that the head looks at.

Reference: Yuan, Chen, Li (NeurIPS 2020), section 4. Not from the paper: (2)'s half, and the head's targets: an object
is what has an IoU above 1/2 with one of the reference; IoU is learned by Huber's loss, as there. The paper has two
bandwidths and no other groupings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import InputError
from pipeline.inference.grouping import Grouping, ModeGrouping
from pipeline.metrics.instances import object_pairs
from pipeline.networks.instance_head import Candidates, InstanceHead

BANDWIDTHS = (ModeGrouping(bandwidth=0.9), ModeGrouping(bandwidth=0.4))
OBJECT = 0.5  # IoU above which a candidate is an object
OVERLAP = 0.5  # share of the smaller of two candidates above which they exclude each other
AT_ONCE = 256  # candidates that the head looks at together


@dataclass(frozen=True, kw_only=True)
class CandidateGrouping:
    """How candidates (1) are made of f (rows, columns)."""

    groupings: Sequence[Grouping] = BANDWIDTHS

    def __call__(self, f: NDArray[np.floating]) -> Candidates:
        """Candidates on the CPU."""
        return pooled([grouping(f[None]) for grouping in self.groupings])


class VerifiedGrouping:
    """What a VerifiedInstanceNet gives, (C, rows, columns) -> objects 1, 2 ... (rows, columns), by (1) and (2).

    weights: a file of the whole network's, whose head is read if nobody has loaded this one: engines that load their
        weights into a copy of the network, or run its TorchScript, leave the head of the config as it was made.
    InputError at the first call: the file is needed and not there.
    """

    def __init__(
        self,
        *,
        head: InstanceHead,
        candidates: CandidateGrouping | None = None,
        least_score: float = 0.5,
        weights: str | Path | None = None,
    ) -> None:
        self.head, self.candidates, self.least_score = head, candidates or CandidateGrouping(), least_score
        self._weights, self._as_made = weights, head.last.weight.detach().clone()

    @torch.no_grad()
    def __call__(self, outputs: NDArray[np.floating]) -> NDArray[np.int32]:
        if self._weights is not None and torch.equal(self.head.last.weight.cpu(), self._as_made.cpu()):
            self._read(Path(self._weights))
        found = self.candidates(outputs[0])
        logits = scored(self.head, torch.from_numpy(outputs), found)
        return suppressed(found, self.head.scores(logits).cpu().numpy(), least_score=self.least_score)

    def _read(self, weights: Path) -> None:
        if not weights.is_file():
            raise InputError(f"{weights} is missing: the second stage has no weights; put the bundle's model.pt there")
        state = torch.load(weights, map_location="cpu", weights_only=True)
        own = {name.removeprefix("head."): value for name, value in state.items() if name.startswith("head.")}
        self.head.load_state_dict(own)
        self.head.eval().requires_grad_(False)


class VerificationLoss(nn.Module):
    """Cross-entropy of S_cls and Huber's loss of S_iou over the candidates of a batch; trains the head alone.

    Outputs (B, C, H, W) of a VerifiedInstanceNet, labels (B, 1, H, W), whole numbers, one an object, 0 background.
    A batch without candidates has loss 0.
    """

    def __init__(self, *, head: InstanceHead, candidates: CandidateGrouping | None = None) -> None:
        super().__init__()
        self.head, self.candidates = head, candidates or CandidateGrouping()

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        outputs, labels = outputs.as_subclass(Tensor).float(), labels.as_subclass(Tensor)
        logits, targets = [outputs.new_zeros((0, 2))], [outputs.new_zeros(0)]
        for features, reference in zip(outputs, labels[:, 0].cpu().numpy().astype(np.int64), strict=True):
            found = self.candidates(features[0].cpu().numpy())
            logits.append(scored(self.head, features, found))
            targets.append(torch.from_numpy(best_overlaps(found, reference)).to(outputs))
        given, iou = torch.cat(logits), torch.cat(targets)
        if not len(iou):
            return outputs.new_zeros((), requires_grad=True)
        classified = F.binary_cross_entropy_with_logits(given[:, 0], (iou > OBJECT).to(given))
        return classified + F.smooth_l1_loss(given[:, 1].sigmoid(), iou, beta=0.1)


def pooled(maps: Sequence[NDArray[np.int32]]) -> Candidates:
    """Objects of several maps (H, W), numbered from 1; of equal ones the first."""
    places = []
    for k, objects in enumerate(maps):
        twice = np.zeros(int(objects.max(initial=0)), bool)
        for before in maps[:k]:
            pairs = object_pairs(objects, before)
            twice[pairs.pairs[0][pairs.iou == 1]] = True
        for number, window in enumerate(find_objects(objects), start=1):
            if not twice[number - 1]:
                rows, columns = window
                places.append((k, number, rows.start, columns.start, rows.stop, columns.stop))
    table = torch.tensor(places, dtype=torch.long).reshape(-1, 6)
    return Candidates(
        maps=torch.from_numpy(np.stack(maps)), map=table[:, 0], number=table[:, 1], boxes=table[:, 2:].float()
    )


def scored(head: InstanceHead, features: Tensor, candidates: Candidates) -> Tensor:
    """The head's logits (N, 2), a part of the candidates at a time, on the head's device."""
    device = next(head.parameters()).device
    features, maps = features.to(device), candidates.maps.to(device)
    fields = (candidates.map, candidates.number, candidates.boxes)
    parts = zip(*(each.to(device).split(AT_ONCE) for each in fields), strict=True)
    logits = [head(features, Candidates(maps=maps, map=m, number=n, boxes=b)) for m, n, b in parts if len(m)]
    return torch.cat([features.new_zeros((0, 2)), *logits])


def best_overlaps(candidates: Candidates, reference: NDArray[np.integer]) -> NDArray[np.float32]:
    """(N,) each candidate's greatest IoU with an object of `reference` (H, W)."""
    best = []
    for objects in candidates.maps.numpy():
        pairs = object_pairs(objects, reference)
        of_map = np.zeros(int(objects.max(initial=0)) + 1, np.float32)
        np.maximum.at(of_map, pairs.pairs[0] + 1, pairs.iou.astype(np.float32))
        best.append(of_map)
    chosen = zip(candidates.map.tolist(), candidates.number.tolist(), strict=True)
    return np.array([best[k][number] for k, number in chosen], np.float32)


def suppressed(candidates: Candidates, scores: NDArray[np.floating], *, least_score: float = 0.5) -> NDArray[np.int32]:
    """Objects 1, 2 ... (rows, columns) by (2), in the order of their first pixels; of two the better has it."""
    maps, boxes = candidates.maps.numpy(), candidates.boxes.int().tolist()
    height, width = maps.shape[1:]
    objects = np.zeros((height, width), np.int32)
    areas, firsts = [0], [-1]
    for index in np.argsort(-scores, kind="stable").tolist():
        if scores[index] < least_score:
            break
        top, left, bottom, right = boxes[index]
        window = np.s_[top:bottom, left:right]
        mask = maps[int(candidates.map[index])][window] == int(candidates.number[index])
        area, there = int(mask.sum()), np.bincount(objects[window][mask])
        if any(there[k] > OVERLAP * min(area, areas[k]) for k in np.flatnonzero(there).tolist() if k):
            continue
        objects[window][mask & (objects[window] == 0)] = len(areas)
        areas.append(area)
        firsts.append(top * width + left + int(mask[0].argmax()))
    number = np.zeros(len(areas), np.int32)
    number[np.argsort(firsts)] = np.arange(len(areas))
    return number[objects]
