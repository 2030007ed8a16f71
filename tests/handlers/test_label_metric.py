"""LabelMetric gives a MONAI evaluator the numbers of evaluate_labels, in the label's own millimetres."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from pipeline.handlers.label_metric import LabelMetric
from pipeline.metrics.labels import evaluate_labels

SPACING = (0.5, 2.0, 3.0)


def maps():
    reference = np.zeros((12, 10, 8), np.uint8)
    reference[2:8, 2:8, 2:6] = 1
    reference[9:11, 1:3, 1:3] = 2
    prediction = np.roll(reference, 1, axis=1)
    return prediction, reference


def tensors(*arrays):
    affine = torch.diag(torch.tensor([-SPACING[0], SPACING[1], SPACING[2], 1.0]))
    return [MetaTensor(torch.from_numpy(array)[None].float(), affine=affine) for array in arrays]


@pytest.mark.parametrize("surface", ["voxel", "surfel"])
@pytest.mark.parametrize("metric", ["dice", "hd95", "assd", "nsd", "volume_difference"])
def test_it_gives_the_numbers_of_evaluate_labels(metric, surface):
    prediction, reference = maps()
    expected = {
        s.label: s.value for s in evaluate_labels(prediction, reference, SPACING, surface=surface, metrics=[metric])
    }
    for label in (1, 2):
        adapter = LabelMetric(metric, label=label, surface=surface)
        p, r = tensors(prediction, reference)
        adapter([p], [r])
        assert adapter.aggregate().item() == pytest.approx(expected[label], rel=1e-6)


def test_a_shift_of_one_voxel_is_its_spacing_in_millimetres():
    reference = np.zeros((6, 6, 6), np.uint8)
    reference[2, 2, 2] = 1
    adapter = LabelMetric("hd")
    p, r = tensors(np.roll(reference, 1, axis=2), reference)
    adapter([p], [r])
    assert adapter.aggregate().item() == pytest.approx(SPACING[2])


def test_the_mean_is_over_the_cases_that_have_a_score_and_a_missed_one_counts():
    _, reference = maps()
    empty = np.zeros_like(reference)
    adapter = LabelMetric("dice")
    for pair in ((reference, reference), (empty, reference), (empty, empty)):
        p, r = tensors(*pair)
        adapter([p], [r])
    assert adapter.aggregate().item() == pytest.approx((1 + 0) / 2)


def test_a_reference_without_an_affine_and_an_unknown_metric_are_refused():
    with pytest.raises(ValueError, match="no MetaTensor"):
        LabelMetric("hd")([torch.ones(1, 4, 4, 4)], [torch.ones(1, 4, 4, 4)])
    with pytest.raises(ValueError, match="there are dice"):
        LabelMetric("hd96")
