"""bfloat16 is used where the processor has it, and only there."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch

from pipeline.numerics.precision import autocast, has_bfloat16


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    has_bfloat16.cache_clear()
    yield
    has_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("capabilities", "there"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({"neon": True, "bf16": False}, False),
    ],
)
def test_a_cpu_computes_in_bfloat16_if_it_has_instructions_for_it(
    capabilities: dict[str, bool], there: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    with caplog.at_level(logging.INFO, logger="pipeline.numerics.precision"):
        for _ in range(2):
            with autocast("cpu"):
                assert torch.is_autocast_enabled("cpu") is there
            with autocast("cpu", enabled=False):
                assert not torch.is_autocast_enabled("cpu")
    said = [record.message for record in caplog.records]
    assert said == ([] if there else ["cpu has no bfloat16 arithmetic: float32 is used"])


def test_a_torch_that_cannot_tell_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_bfloat16("cpu")


@pytest.mark.parametrize("emulated", [False, True])
def test_a_gpu_that_emulates_it_has_it_not(emulated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or not emulated
    )
    assert has_bfloat16("cuda") is not emulated
