"""The model zoo's own checks on every bundle, by the zoo's own script, which is no part of this repository.

    python tests/integrations/zoo.py MODEL_ZOO [BUNDLE...]

MODEL_ZOO: a checkout of github.com/Project-MONAI/model-zoo. Each bundle is copied into a folder of its own, beside an
empty list of published versions, with MONAI's schema where the script would download it; MODEL_ZOO is not changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.inference.verify_documents import SCHEMA_FILE
from tests.integrations.results import record

ROOT = Path(__file__).resolve().parents[2]


def verified(script: Path, bundle: Path, folder: Path) -> tuple[bool, str]:
    """Whether the script passed the bundle, and the last thing that it said."""
    copy = folder / "models" / bundle.name
    shutil.copytree(bundle, copy, ignore=shutil.ignore_patterns("eval", "checkpoint*"))
    (copy / "eval").mkdir()
    shutil.copy(ROOT / "pipeline" / "data" / SCHEMA_FILE, copy / "eval" / "schema.json")
    command = [sys.executable, script, "-b", bundle.name, "-p", "models", "-m", "full"]
    path = {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    ran = subprocess.run(command, cwd=folder, env=os.environ | path, capture_output=True, text=True, check=False)
    said = (ran.stdout if ran.returncode == 0 else ran.stderr).strip().splitlines()
    return ran.returncode == 0, said[-1] if said else ""


def main(zoo: str, *names: str) -> int:
    script = Path(zoo).resolve() / "ci" / "verify_bundle.py"
    if not script.is_file():
        sys.stderr.write(f"{script} is not there: give the folder of a checkout of Project-MONAI/model-zoo\n")
        return 2
    bundles = [ROOT / "bundles" / name for name in names]
    bundles = bundles or [file.parents[1] for file in sorted(ROOT.glob("bundles/*/models/model.pt"))]
    lines = [
        "`make test-zoo`: the model zoo's ci/verify_bundle.py in mode full, unchanged, on each bundle with weights:",
        "",
    ]
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "models").mkdir()
        (folder / "models" / "model_info.json").write_text("{}")
        for bundle in bundles:
            passed, said = verified(script, bundle, folder)
            failed += not passed
            lines.append(f"- {bundle.name}: {'passed' if passed else 'FAILED: ' + said}")
            sys.stdout.write(lines[-1] + "\n")
    lines += ["", f"monai {version('monai')}, torch {version('torch')}; on the CPU. Nothing was to be downloaded."]
    record("Model zoo", lines)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
