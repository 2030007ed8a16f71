from __future__ import annotations

import platform

import numpy as np

from pipeline.io.versions import versions


def test_versions_are_those_that_run_and_none_where_there_is_none() -> None:
    expected = {"python": platform.python_version(), "numpy": np.__version__, "no-such-package": None}
    assert versions("numpy", "no-such-package") == expected
