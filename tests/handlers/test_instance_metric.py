from __future__ import annotations

import pytest
import torch

from pipeline.handlers.instance_metric import InstanceMetric


def test_the_mean_over_images_leaves_out_those_without_any_object():
    reference = torch.zeros(3, 1, 8, 8)
    reference[0, 0, :2, :2], reference[0, 0, 4:6, 4:6], reference[1, 0, :3] = 5, 300, 1
    prediction = reference.clone()
    prediction[0, 0, 4:6, 4:6] = 0  # one of two is missed
    metric = InstanceMetric("ap50")
    metric(list(prediction), list(reference))
    assert metric.aggregate().item() == pytest.approx((0.5 + 1) / 2)


def test_an_unknown_score_is_refused():
    with pytest.raises(ValueError, match="there are ap, ap50"):
        InstanceMetric("map")
