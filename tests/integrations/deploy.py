"""A bundle in MONAI Deploy: the App SDK's bundle operator takes it as a folder and answers as evoseg does.

    python tests/integrations/deploy.py PYTHON [BUNDLE]

PYTHON is that of an environment with monai-deploy-app-sdk (make test-deploy makes one); evoseg is not in it. The bundle
is tried as it leaves with its modules (weights), and with MONAI's own TorchScript export beside them (models/model.ts).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.inference.segmenter import Segmenter
from pipeline.inference.vendored import vendor
from pipeline.io.nifti import read_nifti
from tests.integrations.results import record

HERE = Path(__file__).resolve().parent
SCAN = HERE.parent / "data" / "demo" / "trunk.nii.gz"
BUNDLE = "kidney_ct_regression_segmentation"


def answer(python: str, root: Path, folder: Path) -> np.ndarray | str:
    """The operator's labels, or the last line of its error."""
    out = folder / "labels.npy"
    out.unlink(missing_ok=True)
    command = [python, HERE / "deploy_operator.py", root, folder / "scan.npz", out]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode == 0:
        return np.load(out)
    return next((line for line in ran.stderr.splitlines() if "Error: " in line), ran.stderr[-300:])


def export_torchscript(root: Path) -> None:
    from monai.bundle import ckpt_export

    files = {"meta_file": "configs/metadata.json", "config_file": "configs/inference.yaml"}
    files |= {"ckpt_file": "models/model.pt", "filepath": "models/model.ts"}
    sys.path.insert(0, str(root))  # its own copy of our modules
    ckpt_export(net_id="network_def", bundle_root=str(root), **{key: str(root / file) for key, file in files.items()})


def told(labels: np.ndarray | str, ours: np.ndarray) -> str:
    if isinstance(labels, str):
        return f"FAILED: {labels}"
    if labels.shape != ours.shape:
        return f"FAILED: labels of {labels.shape}, the scan has {ours.shape}"
    found, different = np.count_nonzero(ours), np.count_nonzero(labels != ours)
    return f"voxels labelled by evoseg: {found}; voxels that differ: {different}"


def main(python: str, bundle: str = BUNDLE) -> int:
    scan = read_nifti(SCAN)
    ours = Segmenter.from_bundle(bundle, device="cpu")(scan).labels.array
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = folder / bundle
        vendor(bundle, root)
        np.savez(folder / "scan.npz", array=scan.array, affine=scan.affine)
        eager = told(answer(python, root, folder), ours)
        export_torchscript(root)
        script = told(answer(python, root, folder), ours)
    lines = [f"`make test-deploy`: {bundle} as a folder in MonaiBundleInferenceOperator, asked for {SCAN.name}:", ""]
    lines += [f"- with models/model.pt: {eager}", f"- with models/model.ts: {script}"]
    record("MONAI Deploy App SDK", lines)
    sys.stdout.write("\n".join(lines) + "\n")
    return int(any("FAILED" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
