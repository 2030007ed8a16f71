"""The bundles in MONAI Label: one server with the monaibundle app and all of them answers as evoseg does.

    python tests/integrations/label.py PYTHON [BUNDLE...]

PYTHON is that of an environment with monailabel (make test-label makes one). The bundles go there as folders with their
own copies of our modules, since evoseg is not in that environment.
"""

from __future__ import annotations

import json
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
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.inference.vendored import vendor
from tests.integrations.results import record
from tests.integrations.tried import COLOUR, GREY, HEADER, SCAN, image_for, read, released, row

PATIENCE_S = 600
# monailabel imports torchvision for the pictures of its DeepEdit trainer; torch's CPU build has none that fits on PyPI.
STAND_IN = "def make_grid(*_, **__):\n    raise NotImplementedError\n\n\nsave_image = make_grid\n"
PICTURES = """\
The labels of a scan lie on the scan's grid. Those of a picture must be asked for with `result_extension` `.nrrd`: the
server's writer takes the channel for an axis and the picture's suffix for the mask's, and ends in "PNG supports
unsigned char and unsigned short" or "JPEG Writer can only write 2-dimensional images". They come as a volume of one
slice, 1 x columns x rows. The app gives a bundle nothing but the image: contours are evolved from the bundle's own."""


def app_with(python: str, bundles: list[str], folder: Path) -> Path:
    """The monaibundle app of the environment, with our bundles as its models."""
    prefix = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    app = folder / "app"
    shutil.copytree(Path(prefix.stdout.strip()) / "monailabel" / "sample-apps" / "monaibundle", app)
    for bundle in bundles:
        vendor(bundle, app / "model" / bundle)
    (folder / "studies").mkdir()
    for image in (SCAN, GREY, COLOUR):
        shutil.copy(image, folder / "studies")
    (folder / "stand_in" / "torchvision").mkdir(parents=True)
    (folder / "stand_in" / "torchvision" / "__init__.py").touch()
    (folder / "stand_in" / "torchvision" / "utils.py").write_text(STAND_IN, encoding="utf-8")
    return app


@contextmanager
def server(python: str, bundles: list[str], folder: Path) -> Iterator[str]:
    """The address of a server that is up; it is stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = app_with(python, bundles, folder)
    known = subprocess.run([python, "-c", "import torchvision"], capture_output=True, check=False).returncode == 0
    environment = os.environ | ({} if known else {"PYTHONPATH": str(folder / "stand_in")})
    command = [python, "-m", "monailabel.main", "start_server", "--app", str(app), "--studies", str(folder / "studies")]
    command += ["--host", "127.0.0.1", "--port", str(port), "--conf", "models", ",".join(bundles)]
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


def answer(address: str, bundle: str, folder: Path) -> NDArray[np.generic] | str:
    """The server's labels as tried.evoseg_answer gives them, or the last line of its error."""
    image = image_for(bundle)
    asked = f"{address}/infer/{bundle}?image={image.name.split('.')[0]}&output=image"
    suffix = ".nii.gz" if image == SCAN else ".nrrd"
    form = urlencode({"params": json.dumps({"result_extension": suffix})}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(asked, data=form), timeout=PATIENCE_S) as answered:
            (folder / f"{bundle}{suffix}").write_bytes(answered.read())
    except urllib.error.HTTPError as error:
        said = [line for line in (folder / "server.log").read_text().splitlines() if "Error" in line]
        return said[-1] if said else str(error)
    labels, asked_for = read(folder / f"{bundle}{suffix}"), read(image)
    if image == SCAN:
        same_grid = np.allclose(labels.affine, asked_for.affine, atol=1e-4)
        return labels.array if same_grid else "the labels lie on another grid"
    return labels.array[0].T  # a picture's come as a volume of one sagittal slice: (1, columns, rows)


def main(python: str, *names: str) -> int:
    bundles = released(names)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server(python, bundles, folder) as address:
            lines = [row(bundle, answer(address, bundle, folder)) for bundle in bundles]
    asked_version = "from importlib.metadata import version; print(version('monailabel'))"
    version = subprocess.run([python, "-c", asked_version], capture_output=True, text=True, check=True).stdout.strip()
    said = f"`make test-label`: one server of monailabel {version} with the monaibundle app, asked over REST:"
    record("MONAI Label", [said, "", *HEADER, *lines, "", PICTURES])
    sys.stdout.write("\n".join(lines) + "\n")
    return int(any(not line.endswith("| 0 |") for line in lines))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
