"""label_volume: labels lie on the image's own grid, whatever its orientation, memory order and number type."""

from itertools import permutations, product

import numpy as np
import pytest
import torch
from monai.transforms import KeepLargestConnectedComponentd

from pipeline.inference.export import clean, label_volume
from pipeline.inference.slices import AxialSliceInferer
from pipeline.io.volume import Volume

INFERER = AxialSliceInferer(size=24, air=-1.0, batch_size=4)
CPU = torch.device("cpu")


def scaled(sample):
    return {"image": (sample["image"] / 100).clamp(-1, 1)}


def right_half_of_what_is_bright(images):
    """A "network" that knows its left from its right: bright pixels with R beyond the middle."""
    ramp = torch.linspace(-1, 1, images.shape[-2]).view(1, 1, -1, 1)
    return torch.minimum(images, ramp)


def ras_scan():
    """A bright block on both sides of the middle, in RAS+ order."""
    scan = np.full((24, 24, 6), -100, dtype=np.int16)
    scan[4:20, 8:14, 1:4] = 100
    return scan


@pytest.fixture(scope="module")
def expected():
    labels = ras_scan() > 0
    labels[:12] = False
    return labels


ORIENTATIONS = list(product(permutations(range(3)), product((False, True), repeat=3)))


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_labels_are_the_same_in_the_patient_for_all_48_orientations(axes, flips, expected):
    scan, truth, affine = ras_scan().transpose(axes), expected.transpose(axes), np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (world, flip) in enumerate(zip(axes, flips, strict=True)):
        affine[world, axis] = -1 if flip else 1
        if flip:
            scan, truth = np.flip(scan, axis), np.flip(truth, axis)
    labels = label_volume(
        Volume(scan, affine), right_half_of_what_is_bright, intensity=scaled, inferer=INFERER, device=CPU
    )
    np.testing.assert_array_equal(labels.array, truth)
    assert labels.affine is affine and labels.array.dtype == np.uint8


@pytest.mark.parametrize("layout", ["C", "F", "strided", "big-endian", "uint16", "float64"])
def test_memory_order_and_number_type_do_not_matter(layout, expected):
    scan = ras_scan()
    scan = {
        "C": np.ascontiguousarray(scan),
        "F": np.asfortranarray(scan),
        "strided": np.repeat(scan, 2, axis=2)[:, :, ::2],
        "big-endian": scan.astype(">i2"),
        "uint16": (scan + 100).astype(np.uint16),
        "float64": scan.astype(np.float64),
    }[layout]
    shift = (lambda s: scaled({"image": s["image"] - 100})) if layout == "uint16" else scaled
    labels = label_volume(
        Volume(scan, np.eye(4)), right_half_of_what_is_bright, intensity=shift, inferer=INFERER, device=CPU
    )
    np.testing.assert_array_equal(labels.array, expected)


TWO_LARGEST = KeepLargestConnectedComponentd("pred", applied_labels=1, is_onehot=False, num_components=2)


@pytest.mark.parametrize("order", ["C", "F"])
def test_cleaning_keeps_the_two_largest_parts_and_tells_the_share_removed(order):
    labels = np.zeros((20, 20, 20), np.uint8, order=order)
    labels[2:6, 2:6, 2:6], labels[12:15, 12:15, 12:15] = 1, 1  # 64 and 27 voxels
    kept = labels.copy(order=order)
    labels[9:11, 2:4, 16:18] = 1  # 8 voxels apart from both
    assert clean(labels, TWO_LARGEST) == pytest.approx(8 / 91)
    np.testing.assert_array_equal(labels, kept)


def test_cleaning_leaves_an_empty_map_and_two_parts_alone():
    empty = np.zeros((5, 5, 5), np.uint8)
    assert clean(empty, TWO_LARGEST) == 0.0 and not empty.any()
    two = empty.copy()
    two[0, 0, 0], two[4, 4, 4] = 1, 1
    before = two.copy()
    assert clean(two, TWO_LARGEST) == 0.0
    np.testing.assert_array_equal(two, before)
