"""resize_matrix: partition of unity, identity, exactness on lines, equality with torch's antialiased resize."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from pipeline.io.resample import cubic_matrix, resize, resize_matrix


@pytest.mark.parametrize(("n_in", "n_out"), [(512, 200), (200, 512), (7, 3), (3, 7), (1, 5), (5, 1), (9, 9)])
def test_it_equals_torch_with_antialias(n_in, n_out):
    image = np.random.default_rng(0).normal(size=(n_in, 4)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None, None], size=(n_out, 4), mode="bilinear", antialias=True
    )
    np.testing.assert_allclose(resize_matrix(n_in, n_out) @ image, theirs[0, 0], atol=5e-5)


def test_equal_sizes_give_the_identity_and_constants_stay():
    np.testing.assert_array_equal(resize_matrix(9, 9), np.eye(9))
    np.testing.assert_allclose(resize_matrix(512, 200).sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("n_in", "n_out"), [(512, 200), (200, 512), (122, 200)])
def test_nothing_is_shifted(n_in, n_out):
    """Samples of the position x come back as positions within a fiftieth of a pixel, away from the border."""
    x_in, x_out = (np.arange(n_in) + 0.5) / n_in, (np.arange(n_out) + 0.5) / n_out
    error = (resize_matrix(n_in, n_out) @ x_in - x_out)[3:-3] * min(n_in, n_out)
    assert np.abs(error).max() < 0.02


def test_what_the_coarse_grid_cannot_hold_is_filtered():
    stripes = np.tile([1.0, -1.0], 256)
    assert np.abs(resize_matrix(512, 128) @ stripes)[1:-1].max() < 1e-6


def test_only_the_named_axes_change():
    volume = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)
    out = resize(volume, (3, 8), axes=(0, 2))
    assert out.shape == (3, 5, 8)
    np.testing.assert_allclose(
        out, np.einsum("ai,ijk,bk->ajb", resize_matrix(6, 3), volume, resize_matrix(4, 8)), atol=1e-5
    )


def test_an_empty_axis_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        resize_matrix(0, 5)


@pytest.mark.parametrize("memory", ["C", "F"])
def test_cubic_is_scipys_zoom_whatever_the_memory_order(memory):
    volume = np.asarray(np.random.default_rng(0).normal(0, 300, size=(16, 20, 7)), order=memory)
    factors = (13 / 16, 16 / 20, 20 / 7)
    theirs = ndimage.zoom(volume, factors, order=3, mode="nearest", grid_mode=True)
    ours = resize(volume, (13, 16, 20), axes=(0, 1, -1), order=3)
    np.testing.assert_allclose(ours, theirs, atol=0.002)
    assert ours.flags.c_contiguous == (memory == "C")


def test_a_cubic_matrix_passes_through_its_samples_and_keeps_constants():
    np.testing.assert_allclose(cubic_matrix(9, 9), np.eye(9), atol=1e-6)
    np.testing.assert_allclose(cubic_matrix(20, 33).sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(cubic_matrix(9, 27)[1::3], np.eye(9), atol=1e-6)  # centres of thirds
