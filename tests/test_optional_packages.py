"""What pyproject.toml calls optional is: every module is read without it, as `make docs` reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OPTIONAL = ("ray", "numba", "onnx", "onnxruntime", "onnxscript", "mlflow", "sqlalchemy", "torchdiffeq", "pdoc")
READ = f"""
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys({OPTIONAL!r}))  # importing one of them fails
import data_prep, pipeline
for package in (data_prep, pipeline):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
from pipeline.errors import InputError
from pipeline.inference.ray_engine import Actors
try:
    Actors(None, [], None)
except InputError as error:
    print(error)
"""


def test_every_module_is_read_without_optional_packages_and_ray_is_missed_where_it_is_asked_for() -> None:
    ran = subprocess.run([sys.executable, "-c", READ], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.startswith("--engine ray needs Ray")
