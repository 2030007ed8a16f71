"""evoseg's scores as a MONAI metric: the numbers of `evoseg evaluate` in a bundle's evaluate.yaml.

    _target_: ignite handler IgniteMetricHandler
    metric_fn: {_target_: pipeline.handlers.label_metric.LabelMetric, metric: hd95, label: 1}
    output_transform: "$monai.handlers.from_engine(['pred', 'label'])"

`label` must be the untouched label, and `pred` brought back to its grid (Invertd): distances are in millimetres of the
label's own affine, which MONAI's own handlers do not know.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.metrics import CumulativeIterationMetric, do_metric_reduction
from torch import Tensor

from pipeline.metrics.labels import METRICS, Missing, evaluate_labels
from pipeline.metrics.points import Surface


class LabelMetric(CumulativeIterationMetric):
    """One score of one label, a value a case; `aggregate` is their mean over the cases that have one.

    metric: a name of `pipeline.metrics.labels.METRICS`; surface, tolerance_mm, missing: as in `evaluate_labels`.
    Called with maps (B, 1, *spatial) of label values, or lists of (1, *spatial); the reference must be a MetaTensor.
    """

    def __init__(
        self,
        metric: str,
        *,
        label: int = 1,
        surface: Surface = "voxel",
        tolerance_mm: float = 1.0,
        missing: Missing = "diagonal",
    ) -> None:
        super().__init__()
        if metric not in METRICS:
            raise ValueError(f"metric {metric}: there are {', '.join(METRICS)}")
        self.metric, self.label = metric, label
        self.surface, self.tolerance_mm, self.missing = surface, tolerance_mm, missing

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **kwargs: Any) -> Tensor:
        if not isinstance(y, MetaTensor):
            raise ValueError("the reference is no MetaTensor: without its affine there are no millimetres")
        affine = np.asarray(y.affine.cpu()).reshape(-1, *y.affine.shape[-2:])[0]
        spacing_mm = np.linalg.norm(affine[:3, : y.ndim - 2], axis=0)
        values = [self._value(p, r, spacing_mm) for p, r in zip(_labels(y_pred), _labels(y), strict=True)]
        return torch.tensor(values)[:, None]

    def _value(self, prediction: np.ndarray, reference: np.ndarray, spacing_mm: np.ndarray) -> float:
        scores = evaluate_labels(
            prediction == self.label,
            reference == self.label,
            spacing_mm.tolist(),
            [1],
            surface=self.surface,
            tolerance_mm=self.tolerance_mm,
            metrics=[self.metric],
            missing=self.missing,
        )
        return scores[0].value

    def aggregate(self) -> Tensor:
        """The mean over cases; nan (both empty) left out."""
        return do_metric_reduction(self.get_buffer(), "mean")[0]


def _labels(maps: Tensor) -> np.ndarray:
    if maps.shape[1] != 1:
        raise ValueError(f"maps of shape {tuple(maps.shape)} must have one channel of label values")
    return maps.as_subclass(Tensor)[:, 0].cpu().numpy().round().astype(np.int64)
