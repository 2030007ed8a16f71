"""Run the clinical tests and write what came of it, with the versions of all that took part, into RESULT.md here.

make test-clinical
"""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMAND = ["-m", "pytest", "-m", "clinical", "-q", "-rfEs", "tests/clinical"]
PACKAGES = ("evoseg", "highdicom", "pydicom", "numpy", "dcmqi", "selenium", "ray")
DEBIAN = ("dicom3tools", "chromium", "orthanc", "orthanc-dicomweb")


def package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "a checkout" if name == "evoseg" else "not installed"


def debian(name: str) -> str:
    try:
        asked = subprocess.run(["dpkg-query", "-W", "-f=${Version}", name], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown: no Debian"
    return asked.stdout or "not installed"


def main() -> int:
    ran = subprocess.run([sys.executable, *COMMAND], cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    sys.stdout.write(ran.stdout + ran.stderr)
    lines = ran.stdout.strip().splitlines()
    failed = [f"    {line}" for line in lines if line.startswith(("FAILED", "ERROR", "SKIPPED"))]
    taken = {"Python": platform.python_version(), **{name: package(name) for name in PACKAGES}}
    taken |= {f"{name} (Debian)": debian(name) for name in DEBIAN}
    text = [
        "# The last run of the clinical tests",
        "",
        "`make test-clinical`, which is `python " + " ".join(COMMAND) + "`, said:",
        "",
        f"    {lines[-1] if lines else 'nothing'}",
        *failed,
        "",
        *(f"- {name} {number}" for name, number in taken.items()),
    ]
    (HERE / "RESULT.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
