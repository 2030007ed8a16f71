"""`pipeline.metrics.kernels` compiled by numba, where numba is installed: once a machine, not once a process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from pipeline.metrics import kernels

logger = logging.getLogger(__name__)

Kernel = Callable[..., Any]

_MAP = "u1[::1], UniTuple(i8, 3), i8[:,::1]"
SIGNATURES = {
    "scan": "void(u1[::1], u1[::1], u8[::1], u8[::1], UniTuple(i8, 3), i8[:,::1], i8[:,::1])",
    "occupied_rows": f"b1[:,::1]({_MAP})",
    "border_voxels": f"i4[:,::1]({_MAP}, b1, b1[:,::1])",
    "mixed_corners": f"Tuple((i4[:,::1], u1[:,::1]))({_MAP}, b1, b1[:,::1])",
    "nearest_in_rows": "f8[::1](i4[:,::1], i4[:,::1], i8[:,::1], f8[::1], f8)",
    "nearest_in_boxes": "f8[::1](i4[:,::1], i4[:,::1], i4[:,::1], i8[::1], f8[::1])",
}


@cache
def compiled(name: str) -> Kernel | None:
    """A function of `kernels`, compiled or read from numba's cache; None where that cannot be had.

    The cache lies beside this file or, where that cannot be written, in the user's cache folder or $NUMBA_CACHE_DIR.
    Without any of these there is no kernel: every process would compile for itself.
    """
    try:
        import numba
    except ImportError:
        logger.info("numba is not installed: surface distances take numpy's way, which is some times slower")
        return None
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return None
    try:
        kernel: Kernel = numba.njit(SIGNATURES[name], cache=True, nogil=True)(getattr(kernels, name))
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        logger.warning("no folder to keep compiled code in: set NUMBA_CACHE_DIR to one that can be written")
        return None
    return kernel


def compile_all() -> bool:
    """Compile what is not in the cache yet: to be called before worker processes start, which then only read it.

    Whether there is compiled code to use.
    """
    return all([compiled(name) is not None for name in SIGNATURES])
