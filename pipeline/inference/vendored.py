"""A bundle as a folder that needs MONAI and no evoseg: the modules that its configs name lie in its own `scripts`.

    bundle/configs/*.yaml   pipeline.networks.distance_unet.DistanceUNet -> scripts.networks.distance_unet.DistanceUNet
    bundle/scripts/...      those modules and all of ours that they import, with their imports written anew

Nothing else of a module is changed, so that it computes what its source computes. `scripts` is what MONAI's zoo calls a
bundle's own package, and what MONAI Label and Deploy look for. As in the zoo, the folder is run from within, or from
anywhere with PYTHONPATH set to it.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from pipeline.data import roots
from pipeline.errors import InputError

SOURCE, PACKAGE = "pipeline", "scripts"
CODE = Path(__file__).resolve().parents[1]  # the folder of SOURCE
NAMED = re.compile(rf"\b{SOURCE}((?:\.\w+)+)")
LEFT_OUT = shutil.ignore_patterns("eval", "__pycache__", "*.ckpt", "checkpoint*")


def vendor(bundle: str | Path, folder: Path) -> list[str]:
    """Copy a bundle, given by name or folder, into `folder`, which must not exist; the modules that went with it.

    InputError: no such bundle, a folder that is there, or a config that names a module of ours that does not exist.
    """
    root = Path(roots.bundle(bundle))
    if folder.exists():
        raise InputError(f"{folder} is there already: name a new folder, or remove it")
    configs = {path.name: path.read_text(encoding="utf-8") for path in sorted((root / "configs").glob("*.yaml"))}
    modules = reached(_module(name) for text in configs.values() for name in NAMED.findall(text))
    shutil.copytree(root, folder, ignore=LEFT_OUT)
    for name, text in configs.items():
        (folder / "configs" / name).write_text(_own_config(text, root.name), encoding="utf-8")
    _drop_requirement(folder / "configs" / "metadata.json")
    for module in modules:
        path = folder / PACKAGE / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_own_imports((CODE / module).read_text(encoding="utf-8")), encoding="utf-8")
        for package in path.relative_to(folder).parents[:-1]:
            (folder / package / "__init__.py").touch()
    return modules


def reached(modules: Iterable[str]) -> list[str]:
    """These modules and all of ours that they import, sorted; each a file below the folder of SOURCE."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += [_module(name) for name in _imports((CODE / module).read_text(encoding="utf-8"))]
    return sorted(found)


def _imports(text: str) -> list[str]:
    """Names below SOURCE that a module imports anywhere in it, each with its leading dot, as NAMED finds them."""
    names = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name.removeprefix(SOURCE) for name in names if name.startswith(f"{SOURCE}.")]


def _module(name: str) -> str:
    """The file of a dotted name, ".networks.distance_unet.DistanceUNet": of its longest part that is a module."""
    parts = name.strip(".").split(".")
    for length in range(len(parts), 0, -1):
        file = Path(*parts[:length]).with_suffix(".py")
        if (CODE / file).is_file():
            return file.as_posix()
    raise InputError(f"no module of {SOURCE} defines {SOURCE}{name}: mend the config that names it")


def _own_config(text: str, name: str) -> str:
    """A config that names PACKAGE where it named SOURCE, and its own folder where it named its bundle."""
    text = re.sub(rf"\b{SOURCE}\.(?=\w)", f"{PACKAGE}.", text)
    text = text.replace(f"from {PACKAGE}.data.roots import bundle", f"from {PACKAGE}.data.roots import HOME, bundle")
    return re.sub(rf"\bbundle\('{name}'\)", "str(HOME)", text)  # HOME is the folder above the package


def _own_imports(text: str) -> str:
    return re.sub(rf"^(\s*(?:from|import) ){SOURCE}\b", rf"\1{PACKAGE}", text, flags=re.MULTILINE)


def _drop_requirement(path: Path) -> None:
    described = json.loads(path.read_text(encoding="utf-8"))
    described.get("required_packages_version", {}).pop("evoseg", None)
    path.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
