"""The ways to the same numbers: compiled by numba, numpy's, the kernels as plain Python; and maps to compare."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.metrics import jit, kernels, maps, points


@pytest.fixture(params=["numba", "numpy", "interpreted"])
def way(request, monkeypatch) -> str:
    if request.param == "numba":
        pytest.importorskip("numba")
        assert jit.compile_all(), "numba is installed, so the kernels must compile"
    else:
        instead = {"numpy": lambda name: None, "interpreted": lambda name: getattr(kernels, name)}[request.param]
        for module in (maps, points):
            monkeypatch.setattr(module, "compiled", instead)
        monkeypatch.setattr(maps, "CHUNK", 100)  # a few planes of the small maps at a time
    return request.param


@pytest.fixture
def random_maps() -> Callable:
    """A maker of two label maps: see `_random_maps`."""
    return _random_maps


def _random_maps(seed: int, shape: tuple[int, ...]):
    """Blobs of labels 1 to 3, touching each other and the edge of the map, and the same moved and thinned."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 4, [-(-n // 3) for n in shape]).astype(np.uint8)
    fine = np.kron(coarse, np.ones((3,) * len(shape), np.uint8))[tuple(slice(n) for n in shape)]
    moved = np.roll(fine, 1, axis=0)
    return np.where(random.random(shape) < 0.2, 0, moved).astype(np.uint8), fine
