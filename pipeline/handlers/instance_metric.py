"""The instance scores of `evoseg evaluate --instances` as a MONAI metric, for a bundle's configs.

_target_: ignite handler IgniteMetricHandler
metric_fn: {_target_: pipeline.handlers.instance_metric.InstanceMetric, metric: ap50}
output_transform: "$monai.handlers.from_engine(['pred', 'label'])"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric, do_metric_reduction
from torch import Tensor

from pipeline.metrics.instances import (
    ObjectPairs,
    aggregated_jaccard,
    average_precision,
    detections,
    glas_detections,
    object_dice,
    object_pairs,
)

SCORES: Mapping[str, Callable[[ObjectPairs], float]] = MappingProxyType(
    {
        "ap": average_precision,
        "ap50": lambda objects: detections(objects).average_precision,
        "ap75": lambda objects: detections(objects, iou=0.75).average_precision,
        "pq": lambda objects: detections(objects).panoptic_quality,
        "aji": aggregated_jaccard,
        "object_f1": lambda objects: glas_detections(objects).f1,
        "object_dice": object_dice,
    }
)


class InstanceMetric(CumulativeIterationMetric):
    """One score of metrics/instances.py of each image; `aggregate` is their mean over images that have an object.

    Called with maps (B, 1, rows, columns) of object numbers, or lists of (1, rows, columns).
    ValueError: no such score.
    """

    def __init__(self, metric: str) -> None:
        super().__init__()
        if metric not in SCORES:
            raise ValueError(f"metric {metric}: there are {', '.join(SCORES)}")
        self.metric = metric

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **kwargs: Any) -> Tensor:
        if y is None:
            raise ValueError("instances are scored against a reference: hand over 'label' too")
        both = zip(_objects(y_pred), _objects(y), strict=True)
        return torch.tensor([SCORES[self.metric](object_pairs(p, r)) for p, r in both])[:, None]

    def aggregate(self) -> Tensor:
        return do_metric_reduction(self.get_buffer(), "mean")[0]


def _objects(maps: Tensor) -> np.ndarray:
    return maps.as_subclass(Tensor)[:, 0].cpu().numpy().round().astype(np.int64)
