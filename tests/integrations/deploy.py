"""The bundles in MONAI Deploy: the App SDK's bundle operator takes each as a folder and answers as evoseg does.

    python tests/integrations/deploy.py PYTHON [BUNDLE...]

PYTHON is that of an environment with monai-deploy-app-sdk (make test-deploy makes one); evoseg is not in it. A bundle
is tried as it leaves with its modules (weights), and with MONAI's own TorchScript export beside them (models/model.ts).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.inference.vendored import vendor
from tests.integrations.results import record
from tests.integrations.tried import HEADER, SCAN, image_for, read, released, row

OPERATOR = Path(__file__).resolve().parent / "deploy_operator.py"
EXPORT = """
import sys
sys.path.insert(0, ".")  # the bundle's own copy of our modules
from monai.bundle import ckpt_export
ckpt_export(net_id="network_def", bundle_root=".", meta_file="configs/metadata.json",
            config_file="configs/inference.yaml", ckpt_file="models/model.pt", filepath="models/model.ts")
"""
IMAGES = """\
A scan is given and returned on its own grid, a picture as MONAI's PILReader would give it: (columns, rows, colours).
The operator makes 8 bits of what it returns, so that objects beyond 255 would begin anew at 0."""


def answer(python: str, root: Path, image: Path) -> NDArray[np.generic] | str:
    """The operator's labels as tried.evoseg_answer gives them, or the last line of its error."""
    given, out = read(image), root.parent / "labels.npy"
    out.unlink(missing_ok=True)
    array = given.array if image == SCAN else given.array.swapaxes(0, 1)
    np.savez(root.parent / "image.npz", array=array, affine=given.affine)
    failed = last_error([python, str(OPERATOR), str(root), str(root.parent / "image.npz"), str(out)], root.parent)
    return failed or np.load(out)


def last_error(command: list[str], folder: Path) -> str:
    """Empty if the command ended well."""
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode == 0:
        return ""
    return next((line for line in reversed(ran.stderr.splitlines()) if "Error: " in line), ran.stderr[-300:])


def tried(python: str, bundle: str) -> list[str]:
    """Two rows of the table: with the weights, with TorchScript."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / bundle
        vendor(bundle, root)
        eager = answer(python, root, image_for(bundle))
        script = last_error([sys.executable, "-c", EXPORT], root) or answer(python, root, image_for(bundle))
    return [row(bundle, eager), row(bundle, script).replace(f"| {bundle} |", "| the same, TorchScript |")]


def main(python: str, *names: str) -> int:
    lines = []
    for bundle in released(names):
        lines += tried(str(Path(python).absolute()), bundle)  # not resolved: a link's own environment is meant
        sys.stdout.write("\n".join(lines[-2:]) + "\n")
    said = "`make test-deploy`: each bundle as a folder in MonaiBundleInferenceOperator, models/model.pt or model.ts:"
    record("MONAI Deploy App SDK", [said, "", *HEADER, *lines, "", IMAGES])
    return int(any(not line.endswith("| 0 |") for line in lines))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
