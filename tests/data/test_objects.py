"""Centres and volumes of a label map, as the layers of pipeline/layers take them."""

import pytest
import torch

from pipeline.data.objects import LabelObjectsd
from pipeline.layers.soft_threshold_dynamics import SoftThresholdDynamics
from pipeline.layers.star_shape import StarShape


def boxes(*shape, **marked):
    label = torch.zeros(1, *shape)
    for number, places in marked.items():
        for place in places:
            label[0][place] = int(number[1:])
    return label


def test_parts_have_a_centre_each_the_largest_first_and_volumes_count_every_class():
    small, large = (slice(2, 5), slice(3, 6)), (slice(8, 15), slice(9, 18))
    label = boxes(20, 24, _1=[small, large], _3=[(slice(0, 2), slice(0, 4))])
    found = LabelObjectsd("label", labels=[1, 2, 3], objects=3)({"label": label, "id": "a"})
    assert found["id"] == "a" and found["centers"].shape == (3, 3, 2)
    assert found["centers"][0, :2].tolist() == [[11, 13], [3, 4]] and found["centers"][0, 2].isnan().all()
    assert found["centers"][1].isnan().all() and found["centers"][2, 0].tolist() == [0.5, 1.5]
    assert found["volumes"].tolist() == [20 * 24 - 9 - 63 - 8, 72, 0, 8]


def test_a_splinter_is_no_object():
    label = boxes(30, 30, _1=[(slice(5, 20), slice(5, 20)), (slice(27, 28), slice(27, 28))])
    assert LabelObjectsd("label", objects=2)({"label": label})["centers"][0, 1].isnan().all()


def test_a_label_map_without_the_object_has_nan_and_zero():
    found = LabelObjectsd("label")({"label": torch.zeros(1, 5, 6, 7)})
    assert found["centers"].shape == (1, 1, 3) and found["centers"].isnan().all()
    assert found["volumes"].tolist() == [210, 0]


def test_the_layers_take_what_it_makes():
    label = boxes(12, 12, _1=[(slice(3, 9), slice(2, 8))])
    found = LabelObjectsd("label", objects=2)({"label": label})
    layer = StarShape(SoftThresholdDynamics(spatial_dims=2, iterations=3))
    known = {"centers": found["centers"][None], "at_least": found["volumes"][None]}
    u = layer(torch.randn(1, 2, 12, 12, generator=torch.Generator().manual_seed(0)), **known).softmax(dim=1)
    assert u[:, 1].sum().item() == pytest.approx(36, abs=0.01)


def test_one_label_map_is_asked_for():
    with pytest.raises(ValueError, match="one key"):
        LabelObjectsd(["label", "pred"])
