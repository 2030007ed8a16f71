"""DeepLabV3+: strides, sizes, what its parts see, and how many parameters it has."""

import pytest
import torch
from torch import nn

from pipeline.errors import InputError
from pipeline.networks.deeplab import DILATIONS, LOW_WIDTH, WIDTH, DeepLabV3Plus


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return DeepLabV3Plus(in_channels=1, out_channels=2).eval()


@pytest.mark.parametrize("size", [(64, 96), (1, 33)])
def test_logits_have_the_images_size(small, size):
    with torch.no_grad():
        assert small(torch.rand(1, 1, *size)).shape == (1, 2, *size)


def test_features_are_at_strides_4_and_16(small):
    with torch.no_grad():
        low, deep = small.features(torch.rand(1, 1, 64, 96))
    assert low.shape == (1, 256, 16, 24) and deep.shape == (1, 2048, 4, 6)


def test_the_last_stage_sees_as_far_as_if_it_had_a_stride(small):
    # Of three kernels of 3 the first, which had the stride, reaches 1; the others 2 each.
    stage = small.backbone.layer4
    reach = [part.dilation[0] for part in stage.modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)]
    assert reach == [1, 2, 2] and all(p.stride == (1, 1) for p in stage.modules() if isinstance(p, nn.Conv2d))


def test_a_detail_at_stride_4_reaches_the_logits_past_the_pyramid(small):
    low, deep = torch.zeros(1, 256, 8, 8), torch.zeros(1, 2048, 2, 2)
    changed = low.clone()
    changed[..., 4, 4] = 1

    def logits(features):
        small.features = lambda image: (features, deep)
        with torch.no_grad():
            return small(torch.zeros(1, 1, 32, 32))

    moved = (logits(changed) - logits(low)).abs().amax(dim=1)[0]
    del small.features
    assert moved[16:20, 16:20].max() > 0 and moved[:4].max() == 0  # two 3 x 3 at stride 4, not the whole image


@pytest.mark.parametrize(
    ("backbone", "low", "inputs"), [("resnet18", 64, 512), ("resnet50", 256, 2048), ("resnet101", 256, 2048)]
)
def test_the_parts_behind_the_backbone_have_the_papers_sizes(backbone, low, inputs):
    with torch.device("meta"):
        network = DeepLabV3Plus(in_channels=3, out_channels=1, backbone=backbone)
    backbones = sum(p.numel() for p in network.backbone.parameters())
    norms, scales = 2 * WIDTH, 2 + len(DILATIONS)
    pyramid = inputs * WIDTH * (2 + 9 * len(DILATIONS)) + scales * norms + scales * WIDTH * WIDTH + norms
    decoder = low * LOW_WIDTH + 2 * LOW_WIDTH + 9 * (2 * WIDTH + LOW_WIDTH) * WIDTH + 2 * norms
    assert sum(p.numel() for p in network.parameters()) == backbones + pyramid + decoder + WIDTH + 1


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_it_has_a_gradient_everywhere(backbone):
    network = DeepLabV3Plus(in_channels=1, backbone=backbone)
    network(torch.rand(2, 1, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_an_unknown_backbone_is_refused():
    with pytest.raises(InputError, match="resnet18, resnet50, resnet101"):
        DeepLabV3Plus(backbone="xception")


@pytest.mark.parametrize(("backbone", "millions"), [("resnet18", 11.69), ("resnet50", 25.56), ("resnet101", 44.55)])
def test_the_backbones_are_torchvisions(backbone, millions):
    # what torchvision states for the whole classifier, less its last layer of 1000 classes
    with torch.device("meta"):
        network = DeepLabV3Plus(backbone=backbone)
    features = 512 if backbone == "resnet18" else 2048
    counted = sum(p.numel() for p in network.backbone.parameters()) + 1000 * (features + 1)
    assert counted / 1e6 == pytest.approx(millions, abs=0.005)
