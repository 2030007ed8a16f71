"""A given mask on a volume: given back when nothing was learned, moved by the change alone, and never a stranger's."""

from itertools import permutations, product

import numpy as np
import pytest
import torch

from pipeline.errors import CaseError
from pipeline.inference.refine import (
    evolve,
    from_mask,
    from_regressor,
    object_mask,
    strangers,
    undo_small_moves,
)
from pipeline.inference.slabs import AxialSlabs
from pipeline.inference.slices import AxialSliceInferer
from pipeline.inference.trajectory import Recorder
from pipeline.io.volume import Volume
from pipeline.numerics.signed_distance import signed_distance

CPU = torch.device("cpu")


class Moving:
    """An "evolution" that moves every contour outwards by `speed` pixels of the network, wherever it is."""

    cut_px = 8.0

    def __init__(self, speed):
        self.speed = speed

    def change(self, image, initial):
        return torch.full_like(initial, self.speed)

    def trajectory(self, image, initial):
        times = [0.0, 0.5, 1.0]
        return times, torch.stack([t * self.change(image, initial) for t in times])


def scaled(sample):
    return {"image": (sample["image"] / 100).clamp(-1, 1)}


def slabs_of(image, size=32):
    return AxialSlabs(image, intensity=scaled, inferer=AxialSliceInferer(size=size, batch_size=4), device=CPU)


def scan(shape=(50, 40, 7), affine=None):
    noise = np.random.default_rng(0).normal(0, 100, shape).astype(np.int16)
    return Volume(noise, np.diag([-1.5, 1.5, 3, 1]) if affine is None else affine)


def ragged(shape):
    """A mask of single voxels, holes and a block at the border: what resampling would lose."""
    rng = np.random.default_rng(1)
    mask = np.zeros(shape, bool)
    mask[:20, 8:30, 1:5] = rng.random((20, 22, 4)) < 0.5
    mask[:, :, 3] = False
    return mask


@pytest.mark.parametrize("affine", [None, np.diag([1.0, 0.5, 2, 1])])
def test_an_evolution_that_changes_nothing_gives_the_mask_back_bit_for_bit(affine):
    image = scan(affine=affine)
    mask, slabs, evolution = ragged(image.array.shape), slabs_of(image), Moving(0.0)
    labels = evolve(image, slabs, evolution, from_mask(mask, evolution, slabs))
    np.testing.assert_array_equal(labels.array, mask)
    assert labels.affine is image.affine and labels.array.dtype == np.uint8


@pytest.mark.parametrize(("axes", "flips"), list(product(permutations(range(3)), product((False, True), repeat=3))))
def test_a_moving_contour_is_the_same_in_the_patient_for_all_48_orientations(axes, flips):
    """A ball of radius 12 voxels moves outwards by 3 pixels of the network, which are 4.5 voxels wide."""
    at = [np.arange(n) - (n - 1) / 2 for n in (48, 48, 7)]
    ball = np.sqrt(at[0][:, None, None] ** 2 + at[1][None, :, None] ** 2 + 0 * at[2][None, None, :]) < 12
    mask, affine = ball.transpose(axes), np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (world, flip) in enumerate(zip(axes, flips, strict=True)):
        affine[world, axis] = -1 if flip else 1
        mask = np.flip(mask, axis) if flip else mask
    image = Volume(np.zeros(mask.shape, np.int16), affine)
    slabs, evolution = slabs_of(image), Moving(3.0)
    assert slabs.pixel_mm == 1.5
    grown = evolve(image, slabs, evolution, from_mask(mask, evolution, slabs)).array
    area = grown.sum() / 7
    assert np.sqrt(area / np.pi) == pytest.approx(12 + 3 * 1.5, abs=0.3)


def test_without_a_mask_the_regressors_contour_is_evolved():
    image = scan()
    slabs, evolution = slabs_of(image), Moving(1.0)

    def regressor(images):
        return images * 20 - 5

    labels = evolve(image, slabs, evolution, from_regressor(regressor, evolution, slabs)).array
    expected = np.zeros_like(labels)
    for slices, images in slabs:
        for k, level in zip(slices, slabs.grid.to_volume(regressor(images).clamp(-8, 8) + 1), strict=True):
            expected[:, :, k] = (level[0] > 0).numpy()
    np.testing.assert_array_equal(labels, expected)
    assert 0 < labels.mean() < 1


def test_the_trajectory_goes_from_the_mask_to_the_labels_in_a_box_that_lies_in_the_patient():
    image = scan()
    mask, slabs, evolution = np.zeros(image.array.shape, bool), slabs_of(image), Moving(2.0)
    mask[20:26, 10:20, 2:4] = True
    recorder = Recorder(slabs, outside=-8)
    labels = evolve(image, slabs, evolution, from_mask(mask, evolution, slabs), recorder=recorder).array
    kept = recorder.trajectory(image, np.zeros(mask.shape, bool))
    box = tuple(slice(c, c + n) for c, n in zip(kept.corner, kept.levels.spatial_shape, strict=True))
    assert kept.times == (0, 0.5, 1) and kept.levels.array.shape[:3] != mask.shape
    np.testing.assert_array_equal(kept.levels.array[..., 0] > 0, mask[box])
    np.testing.assert_array_equal(kept.levels.array[..., 2] > 0, labels[box] > 0)
    assert labels[box].sum() == labels.sum()
    np.testing.assert_allclose(kept.levels.affine[:3, 3], (image.affine @ [*kept.corner, 1])[:3])
    middle = (23 - kept.corner[0], 15 - kept.corner[1], 2 - kept.corner[2])
    # three columns of 1.5 mm from the nearest centre outside, less half a voxel
    assert kept.levels.array[middle][0] == pytest.approx(2.5 * 1.5, abs=0.02)


def test_a_part_of_the_change_is_made_as_a_whole_or_not_at_all():
    """A square whose left side moves by two rows, and whose right side by five at one place and one elsewhere."""
    initial = np.zeros((30, 30), bool)
    initial[10:20, 10:20] = True
    evolved = initial.copy()
    evolved[8:10, 10:20] = True
    evolved[20, 10:20] = evolved[21:25, 14] = True
    phi = np.stack([signed_distance(initial), signed_distance(evolved)]).astype(np.float32)
    small, whole = phi.copy(), phi.copy()
    undo_small_moves(small, phi[0], within=2.0)
    np.testing.assert_array_equal(small[1] > 0, initial | (evolved & (np.arange(30) >= 20)[:, None]))
    np.testing.assert_array_equal(small[0], phi[0])
    undo_small_moves(whole, phi[0], within=1.4)
    np.testing.assert_array_equal(whole[1] > 0, evolved)
    undo_small_moves(whole, phi[0], within=5.0)
    np.testing.assert_array_equal(whole[1] > 0, initial)


def test_moves_within_the_tolerance_give_the_mask_back_bit_for_bit():
    image = scan()
    mask, slabs, evolution = np.zeros(image.array.shape, bool), slabs_of(image), Moving(0.9)
    mask[15:30, 10:25, 2:4] = True
    start = from_mask(mask, evolution, slabs)
    recorder = Recorder(slabs, outside=-8)
    kept = evolve(image, slabs, evolution, start, keep_within_px=1.0, recorder=recorder).array
    np.testing.assert_array_equal(kept, mask)
    levels = recorder.trajectory(image, np.zeros(mask.shape, bool)).levels.array
    np.testing.assert_array_equal(levels[..., -1] > 0, levels[..., 0] > 0)
    assert evolve(image, slabs, evolution, start, keep_within_px=0.5).array.sum() > mask.sum()


def test_a_part_that_the_mask_does_not_touch_is_a_stranger():
    labels = np.zeros((20, 10, 4), np.uint8)
    labels[2:6, 2:6, 1:3] = labels[12:16, 2:6, 1:3] = 1
    mask = np.zeros(labels.shape, bool)
    mask[5:7, 5:7, 2] = True  # one voxel in common
    expected = np.zeros(labels.shape, bool)
    expected[12:16, 2:6, 1:3] = True
    np.testing.assert_array_equal(strangers(labels, mask), expected)


def test_a_mask_in_another_axis_order_is_read_in_the_patient():
    image = scan()
    mask = ragged(image.array.shape)
    turned = Volume(mask.transpose(2, 0, 1).astype(np.uint8), image.affine[:, [2, 0, 1, 3]])
    np.testing.assert_array_equal(object_mask(turned, image), mask)


def test_of_several_labels_the_chosen_ones_are_the_object():
    image = scan()
    labels = Volume(np.zeros(image.array.shape, np.uint8), image.affine)
    labels.array[:5], labels.array[10:15], labels.array[20:25] = 1, 2, 3
    with pytest.raises(CaseError, match=r"labels 1, 2, 3.*--initial-label") as caught:
        object_mask(labels, image)
    assert caught.value.code == "BAD_LABELS"
    np.testing.assert_array_equal(object_mask(labels, image, (1, 3)), np.isin(labels.array, (1, 3)))


@pytest.mark.parametrize("kind", ["other shape", "other place", "full"])
def test_masks_that_cannot_be_meant_are_refused_with_a_sentence(kind):
    image = scan()
    array, affine = np.ones(image.array.shape, np.uint8), image.affine.copy()
    if kind == "other shape":
        array = array[:-1]
    if kind == "other place":
        affine[0, 3] = 5
    with pytest.raises(CaseError, match="full" if kind == "full" else "on its grid") as caught:
        object_mask(Volume(array, affine), image)
    assert caught.value.code == ("BAD_LABELS" if kind == "full" else "GRID_MISMATCH")
