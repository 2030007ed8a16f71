"""Kernels are compiled once a machine, and where they cannot be kept or made, evaluation goes on without them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.metrics import jit, kernels

ROOT = Path(__file__).resolve().parents[2]
CACHE_HITS = """
from pipeline.metrics.jit import compiled
print(sum(compiled("scan").stats.cache_hits.values()))
"""
WITHOUT_KERNELS = """
import numpy as np
from pipeline.metrics.jit import compile_all
from pipeline.metrics.labels import evaluate_labels
mask = np.ones((2, 3), np.uint8)
print(compile_all(), all(row.value in (0, 1) for row in evaluate_labels(mask, mask, (1, 1))))
"""


def run(script: str, **environment: object) -> str:
    environ = {**os.environ, **{name: str(value) for name, value in environment.items()}, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def test_every_kernel_has_a_signature_and_every_signature_a_kernel() -> None:
    names = {name for name, each in vars(kernels).items() if getattr(each, "__module__", "") == kernels.__name__}
    assert names == set(jit.SIGNATURES)


def test_the_second_process_reads_what_the_first_compiled_also_beside_a_read_only_installation(tmp_path) -> None:
    pytest.importorskip("numba", minversion="0.61")
    only_of_the_user = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserWideCacheLocator", "XDG_CACHE_HOME": tmp_path}
    if sys.platform != "linux":
        pytest.skip("the user's cache folder is found in another way here")
    assert run(CACHE_HITS, **only_of_the_user) == "0"
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
    assert kept
    assert run(CACHE_HITS, **only_of_the_user) == "1"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")} == kept


def test_without_a_place_for_compiled_code_and_without_the_compiler_numpy_does_it() -> None:
    pytest.importorskip("numba", minversion="0.61")
    assert run(WITHOUT_KERNELS, NUMBA_CACHE_LOCATOR_CLASSES="IPythonCacheLocator") == "False True"
    assert run(WITHOUT_KERNELS, NUMBA_DISABLE_JIT=1) == "False True"


def test_without_numba_there_is_no_kernel(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    jit.compiled.cache_clear()
    try:
        assert jit.compile_all() is False
    finally:
        jit.compiled.cache_clear()
