"""VolumePatchInferer: neither tiles nor grids leave a trace, in any orientation, at any size, without much memory."""

import tracemalloc
from contextlib import nullcontext
from itertools import permutations, product

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.errors import CaseError
from pipeline.inference import patches
from pipeline.inference.export import label_volume
from pipeline.inference.patches import VolumeGrid, VolumePatchInferer
from pipeline.io.resample import resize
from pipeline.io.volume import Volume

CPU = torch.device("cpu")


def same(patches):
    """A network that does nothing; a copy, because MONAI weighs the answer in place."""
    return patches.clone()


def scaled(sample):
    return {"image": (sample["image"] / 100).clamp(-1, 1)}


def inferer(**options):
    return VolumePatchInferer(**{"patch": (8, 8, 4), "spacing_mm": (2.0, 2.0, 4.0), "overlap": 0.5} | options)


def labelled(array, network, affine=None, **options):
    volume = Volume(array, np.diag([2.0, 2.0, 4.0, 1.0]) if affine is None else affine)
    parts = inferer(**options).parts(volume, network, intensity=scaled, device=CPU, everywhere=False)
    return label_volume(volume, parts)


# --- tiles


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
def test_a_network_of_single_voxels_shows_no_seams(overlap):
    volume = torch.randn(1, 1, 19, 13, 11)
    tiled = inferer(spacing_mm=None, overlap=overlap)(volume, lambda patches: torch.sin(3 * patches))
    torch.testing.assert_close(tiled, torch.sin(3 * volume))


def test_where_a_network_looks_over_the_border_of_its_tile_blending_hides_most_of_it():
    volume = torch.randn(1, 1, 24, 24, 12, generator=torch.Generator().manual_seed(0))
    network = lambda patches: F.avg_pool3d(patches, 3, stride=1, padding=1, count_include_pad=False)  # noqa: E731

    def error(overlap):
        return (inferer(spacing_mm=None, overlap=overlap)(volume, network) - network(volume)).abs().mean()

    assert error(0.5) < 0.5 * error(0.0) and error(0.0) > 0.01


@pytest.mark.parametrize("shape", [(3, 5, 2), (8, 8, 4), (9, 8, 1), (40, 3, 5)])
def test_a_volume_smaller_than_a_patch_or_thinner_than_a_stride_is_surrounded_with_air(shape):
    seen = []

    def network(patches):
        seen.append(patches)
        return same(patches)

    volume = 1 + torch.rand(1, 1, *shape)
    torch.testing.assert_close(inferer(spacing_mm=None)(volume, network), volume)
    assert all(patches.shape[2:] == (8, 8, 4) for patches in seen)
    values = torch.cat(seen).flatten()
    assert ((values == -1) | (values >= 1)).all()


def test_patches_in_batches_give_the_same():
    volume = torch.randn(1, 1, 20, 9, 7)
    network = lambda patches: patches * patches.mean(dim=(1, 2, 3, 4), keepdim=True)  # noqa: E731
    torch.testing.assert_close(inferer(batch_size=5)(volume, network), inferer()(volume, network))


def test_the_smaller_one_takes_one_patch_at_a_time_stitches_on_the_cpu_and_gives_the_same(monkeypatch):
    given, stitched = [], patches.sliding_window_inference
    spy = lambda *args, **options: given.append(options) or stitched(*args, **options)  # noqa: E731
    monkeypatch.setattr(patches, "sliding_window_inference", spy)
    whole = inferer(batch_size=5)
    small = whole.smaller()
    volume = torch.randn(1, 1, 20, 9, 7)
    torch.testing.assert_close(small(volume, same), whole(volume, same))
    assert [(options["sw_batch_size"], options["device"]) for options in given] == [(1, CPU), (5, None)]
    assert small.smaller() is None


def test_logits_from_elsewhere_come_to_where_the_grid_is():
    """A slab at a time; a type that the products do not take stands in for another device."""
    logits, grid = torch.randn(2, 6, 6, 4, dtype=torch.float64), VolumeGrid((12, 9, 21), (1.0,) * 3, (2.0, 1.5, 5.0))
    for slices in grid.slabs():
        torch.testing.assert_close(grid.to_volume(logits, slices), grid.to_volume(logits.float(), slices))


# --- grids


def test_the_slabs_of_a_volume_become_its_antialiased_resampling():
    volume = np.random.default_rng(0).normal(size=(2, 12, 9, 21)).astype(np.float32)
    grid = VolumeGrid((12, 9, 21), (1.0, 1.5, 1.0), (2.0, 1.0, 3.0))
    slabs = [(k, torch.from_numpy(volume[..., k.start : k.stop])) for k in grid.slabs()]
    assert len(slabs) > 1
    expected = resize(volume, (6, 14, 7), axes=(1, 2, 3))  # 12 mm of 2, 13.5 of 1 (half to even), 21 of 3
    np.testing.assert_allclose(grid.to_network(slabs), expected, atol=1e-5)
    back = torch.cat([grid.to_volume(torch.from_numpy(expected), k) for k in grid.slabs()], dim=-1)
    np.testing.assert_allclose(back, resize(expected, (12, 9, 21), axes=(1, 2, 3)), atol=1e-5)


@pytest.mark.parametrize("value", [-0.7, 1.3])
def test_a_constant_map_stays_constant_through_tiles_and_grids(value):
    volume = MetaTensor(torch.randn(1, 1, 23, 17, 30), affine=torch.diag(torch.tensor([0.7, 0.8, 2.5, 1.0])))
    logits = inferer()(volume, lambda patches: torch.full_like(patches, value))
    assert isinstance(logits, MetaTensor) and torch.equal(logits.affine, volume.affine)
    torch.testing.assert_close(logits.as_tensor(), torch.full(volume.shape, value))


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 4.0), (1.0, 1.3, 2.0), (3.0, 3.0, 5.0)])
def test_a_ball_comes_back_where_it_is_whatever_the_voxels(spacing):
    """The same patient at several spacings: a ball of 20 mm in a box of 60 mm."""
    shape = [round(60 / step) for step in spacing]
    at = np.meshgrid(*[(np.arange(n) + 0.5) * step - 30 for n, step in zip(shape, spacing, strict=True)], indexing="ij")
    distance = 20 - np.sqrt(sum(axis**2 for axis in at))
    ball = (10 * distance).clip(-100, 100).astype(np.int16)
    found = labelled(ball, same, np.diag([*spacing, 1.0])).array
    assert (distance > 0).any() and np.abs(distance[found != (distance > 0)]).max(initial=0) < 1.0


def test_a_plain_tensor_and_no_spacing_are_the_networks_own_grid():
    seen = []
    network = lambda patches: (seen.append(patches.shape), same(patches))[1]  # noqa: E731
    affine = torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0]))
    inferer()(torch.randn(1, 1, 8, 8, 4), network)
    inferer(spacing_mm=None)(MetaTensor(torch.randn(1, 1, 8, 8, 4), affine=affine), network)
    assert len(seen) == 2  # a single tile each


def test_a_spacing_that_no_patient_has_is_refused():
    with pytest.raises(CaseError, match="wider than any patient") as refused:
        labelled(np.zeros((20, 20, 20), np.int16), same, np.diag([200.0, 200.0, 200.0, 1.0]))
    assert refused.value.code == "BAD_GEOMETRY"


def test_what_is_not_one_volume_is_refused():
    with pytest.raises(ValueError, match="one volume"):
        inferer()(torch.zeros(2, 1, 4, 4, 4), torch.nn.Identity())


# --- labels


def right_upper_part_of_what_is_bright(patches):
    """A "network" that knows right from left and head from foot within its patch."""
    _, _, x, y, s = patches.shape
    right = torch.linspace(-1, 1, x).view(-1, 1, 1)
    up = torch.linspace(-1, 1.2, s).view(1, 1, -1)
    return torch.minimum(patches, torch.minimum(right, up).expand(x, y, s))


ORIENTATIONS = list(product(permutations(range(3)), product((False, True), repeat=3)))


def test_labels_are_the_same_in_the_patient_for_all_48_orientations():
    spacing = np.array([1.5, 2.5, 3.0])
    scan = np.random.default_rng(1).integers(-100, 100, (17, 11, 9)).astype(np.int16)
    expected = labelled(scan, right_upper_part_of_what_is_bright, np.diag([*spacing, 1.0])).array
    assert 0.02 < expected.mean() < 0.5
    for axes, flips in ORIENTATIONS:
        turned, truth, affine = scan.transpose(axes), expected.transpose(axes), np.zeros((4, 4))
        affine[3, 3] = 1
        for axis, (world, flip) in enumerate(zip(axes, flips, strict=True)):
            affine[world, axis] = -spacing[world] if flip else spacing[world]
            if flip:
                turned, truth = np.flip(turned, axis), np.flip(truth, axis)
        labels = labelled(turned, right_upper_part_of_what_is_bright, affine)
        np.testing.assert_array_equal(labels.array, truth)
        assert labels.affine is affine and labels.array.dtype == np.uint8


def test_labels_are_those_of_monais_road():
    """The inferer's logits on the whole grid, cut at 0: what a bundle's inference.yaml does."""
    affine = np.diag([1.0, 1.7, 2.5, 1.0])
    scan = np.random.default_rng(2).integers(-100, 100, (21, 14, 13)).astype(np.int16)
    image = MetaTensor(
        scaled({"image": torch.from_numpy(scan).float()[None]})["image"], affine=torch.from_numpy(affine)
    )
    logits = inferer()(image[None], right_upper_part_of_what_is_bright)[0, 0]
    labels = labelled(scan, right_upper_part_of_what_is_bright, affine).array
    assert labels.any()
    np.testing.assert_array_equal(labels, (logits > 0).as_tensor().numpy())


def test_of_several_classes_the_largest_logit_is_taken_on_the_delivered_grid():
    scan = np.linspace(-100, 100, 30).round().astype(np.int16)[:, None, None] * np.ones((1, 12, 9), np.int16)
    network = lambda patches: torch.cat([patches * 0, patches - 0.5, -0.5 - patches], dim=1)  # noqa: E731
    labels = labelled(scan, network, np.diag([1.0, 2.0, 4.0, 1.0])).array
    assert labels[0].max() == labels[0].min() == 2 and (labels[15] == 0).all() and (labels[-1] == 1).all()
    assert (np.diff((labels[:, 5, 5] == 1).astype(int)) != 0).sum() == 1  # one contour, no steps of the coarse grid


class Largest(TorchDispatchMode):
    """Remembers the bytes of the largest tensor that any operation makes."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        tensors = [part for part in tree_leaves(made) if torch.is_tensor(part)]
        self.size = max(self.size, *(tensor.untyped_storage().nbytes() for tensor in tensors), 0)
        return made


SCAN = np.zeros((256, 256, 96), np.int16)


def five_classes(context):
    with context:
        labelled(SCAN, lambda x: x.repeat(1, 5, 1, 1, 1), np.diag([0.3, 0.3, 0.5, 1.0]), patch=(48, 48, 16))


def test_torch_makes_five_maps_of_a_slab_and_nothing_of_the_scans_size():
    largest = Largest()
    five_classes(largest)
    assert 5 * 256 * 256 <= largest.size < 2 * SCAN.size  # a float32 copy of the scan would take 4 bytes a voxel


def test_numpy_makes_the_labels_and_no_copy_of_the_scan():
    tracemalloc.start()
    five_classes(nullcontext())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert SCAN.size <= peak < 2 * SCAN.size
