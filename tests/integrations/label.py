"""A bundle in MONAI Label: its server, started with the monaibundle app, answers as evoseg does.

    python tests/integrations/label.py PYTHON [BUNDLE]

PYTHON is that of an environment with monailabel (make test-label makes one). The bundle goes there as a folder with its
own copy of our modules, since evoseg is not in that environment.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.inference.segmenter import Segmenter
from pipeline.inference.vendored import vendor
from pipeline.io.discover import find_cases, read_case
from pipeline.io.nifti import read_nifti
from tests.integrations.results import record

SCAN = Path(__file__).resolve().parents[1] / "data" / "demo" / "trunk.nii.gz"
BUNDLE = "kidney_ct_regression_segmentation"
PATIENCE_S = 600
# monailabel imports torchvision for the pictures of its DeepEdit trainer; torch's CPU build has none that fits on PyPI.
STAND_IN = "def make_grid(*_, **__):\n    raise NotImplementedError\n\n\nsave_image = make_grid\n"


def app_with(python: str, bundle: str, folder: Path) -> Path:
    """The monaibundle app of the environment, with our bundle among its models."""
    prefix = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    app = folder / "app"
    shutil.copytree(Path(prefix.stdout.strip()) / "monailabel" / "sample-apps" / "monaibundle", app)
    vendor(bundle, app / "model" / bundle)
    (folder / "studies").mkdir()
    shutil.copy(SCAN, folder / "studies")
    (folder / "stand_in" / "torchvision").mkdir(parents=True)
    (folder / "stand_in" / "torchvision" / "__init__.py").touch()
    (folder / "stand_in" / "torchvision" / "utils.py").write_text(STAND_IN, encoding="utf-8")
    return app


@contextmanager
def server(python: str, bundle: str, folder: Path) -> Iterator[str]:
    """The address of a server that is up; it is stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = app_with(python, bundle, folder)
    known = subprocess.run([python, "-c", "import torchvision"], capture_output=True, check=False).returncode == 0
    environment = os.environ | ({} if known else {"PYTHONPATH": str(folder / "stand_in")})
    command = [python, "-m", "monailabel.main", "start_server", "--app", app, "--studies", folder / "studies"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--conf", "models", bundle]
    command += ["--conf", "zoo_source", "ngc", "--conf", "sam2", "false"]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/info/", process, folder / "server.log")
        yield address
    finally:
        process.terminate()
        process.wait(30)


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(PATIENCE_S):
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        try:
            urllib.request.urlopen(url, timeout=30).close()
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(1)
    raise RuntimeError(f"no answer from {url} in {PATIENCE_S} s:\n{log.read_text()[-3000:]}")


def main(python: str, bundle: str = BUNDLE) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server(python, bundle, folder) as address:
            asked = f"{address}/infer/{bundle}?image={SCAN.name.removesuffix('.nii.gz')}&output=image"
            with urllib.request.urlopen(urllib.request.Request(asked, method="POST"), timeout=PATIENCE_S) as answer:
                (folder / "labels.nii.gz").write_bytes(answer.read())
        theirs = read_nifti(folder / "labels.nii.gz")
    (case,) = find_cases(SCAN)
    ours = Segmenter.from_bundle(bundle, device="cpu")(read_case(case)).labels
    different = int(np.count_nonzero(theirs.array != ours.array))
    found = int(np.count_nonzero(ours.array))
    same_grid = bool(np.allclose(theirs.affine, ours.affine, atol=1e-4))
    dice = 2 * np.count_nonzero((theirs.array > 0) & (ours.array > 0)) / (found + np.count_nonzero(theirs.array))
    asked_version = "from importlib.metadata import version; print(version('monailabel'))"
    version = subprocess.run([python, "-c", asked_version], capture_output=True, text=True, check=True).stdout.strip()
    lines = [
        f"`make test-label`: {bundle} in the monaibundle app of monailabel {version}, asked over REST for {SCAN.name}:",
        "",
        f"- the scan's grid: {'yes' if same_grid else 'NO'}",
        f"- voxels labelled by evoseg: {found}; voxels that differ: {different}; Dice of the two: {dice:.5f}",
    ]
    record("MONAI Label", lines)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if same_grid and dice > 0.99 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
