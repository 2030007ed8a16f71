"""`evoseg doctor`: whether this machine can do the work, a line for each thing that it needs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import typer

from pipeline.data.roots import HOME, bundles, search_path

# How hospitals send pixels; each needs a decoder among the installed pydicom plugins.
TRANSFER_SYNTAXES = {
    "RLE Lossless": "1.2.840.10008.1.2.5",
    "JPEG Baseline": "1.2.840.10008.1.2.4.50",
    "JPEG Lossless": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
}
NEEDED_DISK_GB = 1.0

Finding = tuple[str, str]  # ("ok" | "note" | "FAIL", sentence); FAIL makes the exit status 1


def doctor() -> None:
    """Check this installation: versions, device, decoders, bundles, the import path and the temporary folder.

    Exit status 1 when something needed is missing.
    """
    failed = False
    for check in (packages, device, decoders, bundles_found, import_path, temporary_folder):
        for state, sentence in check():
            failed |= state == "FAIL"
            typer.echo(f"{state:<5} {sentence}")
    raise typer.Exit(1 if failed else 0)


def packages() -> Iterator[Finding]:
    """Python, evoseg and each package that evoseg requires, with the version that is installed."""
    yield "ok", f"Python {platform.python_version()} on {platform.platform()}"
    try:
        requirements = importlib.metadata.requires("evoseg") or []
    except importlib.metadata.PackageNotFoundError:
        yield "FAIL", "evoseg itself is not installed: pip install -e . in its checkout"
        return
    yield "ok", f"evoseg {importlib.metadata.version('evoseg')} in {HOME}"
    for name in sorted({re.split(r"[^\w.-]", line)[0] for line in requirements if "extra ==" not in line}):
        try:
            yield "ok", f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            yield "FAIL", f"{name} is missing: pip install {name}"


def device() -> Iterator[Finding]:
    """What networks will run on."""
    if importlib.util.find_spec("torch") is None:
        return  # said by packages()
    import torch

    cores = f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} threads for torch"
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            yield "ok", f"cuda:{index} {gpu.name}, {gpu.total_memory / 1e9:.0f} GB; {cores}"
    else:
        yield "ok", f"no CUDA device: --device auto means the CPU; {cores}"


def decoders() -> Iterator[Finding]:
    """Whether compressed DICOM can be read."""
    if importlib.util.find_spec("pydicom") is None:
        return
    from pydicom.pixels import get_decoder

    for name, uid in TRANSFER_SYNTAXES.items():
        decoder = get_decoder(uid)
        if decoder.is_available:
            yield "ok", f"DICOM {name}: {', '.join(decoder.available_plugins)}"
        else:
            yield "FAIL", f"DICOM {name}: no decoder; pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"


def bundles_found() -> Iterator[Finding]:
    """The bundles by name and folder."""
    found = bundles()
    for name, folder in found.items():
        yield "ok", f"bundle {name} in {folder}"
    if not found:
        yield "FAIL", f"no bundle in {', '.join(map(str, search_path()))}: set EVOSEG_BUNDLES to a folder of bundles"


def import_path() -> Iterator[Finding]:
    """Whether another package named `pipeline` hides ours, or will for a command started elsewhere."""
    others = [
        entry
        for entry in map(Path, dict.fromkeys(sys.path))
        if entry.resolve() != HOME and any((entry / name).is_file() for name in ("pipeline/__init__.py", "pipeline.py"))
    ]
    for entry in others:
        yield (
            "note",
            (
                f"{entry} holds another `pipeline`: python -m monai.bundle may import that one; "
                "give evoseg its own environment, or take the folder off PYTHONPATH"
            ),
        )
    if not others:
        yield "ok", f"`import pipeline` brings evoseg's own, {HOME / 'pipeline'}"


def temporary_folder() -> Iterator[Finding]:
    """Room and permission for unpacked and half-written files."""
    folder = tempfile.gettempdir()
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            free_gb = shutil.disk_usage(folder).free / 1e9
    except OSError as error:
        yield "FAIL", f"temporary folder {folder} cannot be written ({error}): set TMPDIR to one that can"
        return
    state = "ok" if free_gb >= NEEDED_DISK_GB else "FAIL"
    yield state, f"temporary folder {folder} is writable, {free_gb:.1f} GB free"
