"""Where bundles lie: the one place that turns a bundle's name into a folder.

A bundle's configs name it (`bundle_root: "$pipeline.data.roots.bundle('NAME')"`), so they run from any folder.
"""

from __future__ import annotations

import difflib
import os
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.io.json_file import read_json

HOME = Path(__file__).resolve().parents[2]  # the checkout, or the folder that the wheel was unpacked into


def search_path() -> list[Path]:
    """Folders of bundles, first wins: $EVOSEG_BUNDLES (several, as in $PATH), the checkout, the wheel's share/."""
    named = [Path(entry).expanduser() for entry in os.environ.get("EVOSEG_BUNDLES", "").split(os.pathsep) if entry]
    return [*named, *_installed("bundles")]


def _installed(kind: str) -> list[Path]:
    """Where a folder of the checkout lies there, and where a wheel puts it."""
    shares = [
        HOME,
        Path(sysconfig.get_path("data")),
        Path(sysconfig.get_path("data", sysconfig.get_preferred_scheme("user"))),
    ]
    return [HOME / kind, *(share / "share" / "evoseg" / kind for share in shares)]


def bundles() -> dict[str, Path]:
    """All bundles that `bundle` finds by name: name -> folder, sorted by name."""
    found: dict[str, Path] = {}
    for folder in search_path():
        for meta in folder.glob("*/configs/metadata.json"):
            found.setdefault(meta.parents[1].name, meta.parents[1].resolve())
    return dict(sorted(found.items()))


def bundle(name_or_path: str | os.PathLike[str]) -> str:
    """The absolute folder of a bundle, given by name or by a path to it.

    Raises InputError, naming the bundles that exist, when there is none.
    """
    path = Path(name_or_path).expanduser()
    if (path / "configs" / "metadata.json").is_file():
        return str(path.resolve())
    known = bundles()
    if str(name_or_path) in known:
        return str(known[str(name_or_path)])
    if path.is_dir():
        raise InputError(f"{path} is not a bundle: it has no configs/metadata.json")
    near = difflib.get_close_matches(str(name_or_path), known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise InputError(
        f"no bundle is called {name_or_path}: {hint}known are {', '.join(known) or 'none'}; "
        "give one of these, a path to a bundle's folder, or set EVOSEG_BUNDLES to a folder of bundles"
    )


def licence(folder: Path) -> str:
    """The first line of what binds the weights: the licence of the data that they come from, else the bundle's own."""
    for path in (folder / "docs" / "data_license.txt", folder / "LICENSE"):
        if path.is_file() and (text := path.read_text(encoding="utf-8").strip()):
            return text.split("\n")[0]
    return "none"


def overlay(name_or_file: str | os.PathLike[str]) -> Path:
    """The file of an overlay, a config that is read on top of a bundle's train.yaml, given by name or as a file.

    InputError, naming those that there are, when there is none.
    """
    file = Path(name_or_file).expanduser()
    if file.is_file():
        return file.resolve()
    known = {path.stem: path for folder in reversed(_installed("configs")) for path in folder.glob("*.yaml")}
    if str(name_or_file) in known:
        return known[str(name_or_file)]
    raise InputError(f"no overlay is called {name_or_file}: there are {', '.join(sorted(known))}; or give a file")


def metadata(root: str | os.PathLike[str]) -> dict[str, Any]:
    """A bundle's configs/metadata.json; InputError when it is not a JSON object."""
    return read_json(Path(root) / "configs" / "metadata.json")


def label_names(content: Mapping[str, Any]) -> dict[int, str]:
    """Label value -> name of what a bundle delivers, from its metadata; the background is left out.

    `label_def` of its output says them where labels are not the network's channels, else channel_def does.
    KeyError: the metadata are not of evoseg's kind.
    """
    answer = content["network_data_format"]["outputs"]["pred"]
    named = answer.get("label_def", answer["channel_def"])
    return {int(value): name for value, name in named.items() if int(value) > 0}
