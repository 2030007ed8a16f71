"""Rules about what is written in a bundle: metadata, licences, the model card, the text of its configs. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from pipeline.data.config import entries
from pipeline.data.roots import metadata

# Named by its date, as MONAI does: a published schema never changes.
SCHEMA_FILE = "meta_schema_20240725.json"
SCHEMA_URL = f"https://project-monai.github.io/schema/{SCHEMA_FILE}"

DOCUMENTS = ("LICENSE", "docs/README.md", "docs/data_license.txt", "configs/metadata.json", "models/model.pt")
CARD_HEADINGS = (
    "Data",
    "Training",
    "Input",
    "Output",
    "Performance",
    "Commands",
    "Limitations",
    "References",
    "Licen[cs]e",
)
WEIGHTS_MB, BUNDLE_MB = 12, 40

# A path of one machine inside an expression: $os.path.join('/home/me', ...).
PERSONAL = re.compile(r"""['"](?:/(?:home|root|Users|mnt|media|tmp|opt|srv|scratch|workspace|work)\b|~/|[A-Za-z]:\\)""")


def metadata_keeps_the_schema(root: Path) -> Iterator[str]:
    from jsonschema import Draft201909Validator

    schema = json.loads(resources.files("pipeline.data").joinpath(SCHEMA_FILE).read_text(encoding="utf-8"))
    content = metadata(root)
    for error in Draft201909Validator(schema).iter_errors(content):
        yield f"{'/'.join(map(str, error.absolute_path)) or 'metadata.json'}: {error.message}"
    if content.get("schema") != SCHEMA_URL:
        yield f"schema is {content.get('schema')}, it must be {SCHEMA_URL}"


def changelog_has_the_version(root: Path) -> Iterator[str]:
    content = metadata(root)
    if content["version"] not in content.get("changelog", {}):
        yield f"version {content['version']} is not a key of changelog in metadata.json"


def documents_are_there(root: Path) -> Iterator[str]:
    for name in DOCUMENTS:
        if not (root / name).is_file() or (root / name).stat().st_size == 0:
            yield f"{name} is missing or empty"


def card_has_its_headings(root: Path) -> Iterator[str]:
    given = [heading for heading, _ in sections(root)]
    for wanted in CARD_HEADINGS:
        if not any(re.search(wanted, heading, re.IGNORECASE) for heading in given):
            yield f"docs/README.md has no heading with the word {wanted}"


def scores_agree(root: Path) -> Iterator[str]:
    """Each number of eval_metrics stands, to its last digit that is no 0, in the card's section on performance."""
    performance = "\n".join(text for heading, text in sections(root) if "performance" in heading.lower())
    numbers = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", performance)}
    metrics = metadata(root).get("eval_metrics", {})
    if not metrics:
        yield "metadata.json has no eval_metrics"
    for name, value in metrics.items():
        if value not in numbers:
            yield f"eval_metrics {name} is {value}, which the card's section on performance does not tell"


def sections(root: Path) -> list[tuple[str, str]]:
    """The model card as (heading, text below it up to the next heading of the same or a higher level)."""
    lines = (root / "docs" / "README.md").read_text(encoding="utf-8").split("\n")
    headings = [(i, match[1], match[2]) for i, line in enumerate(lines) if (match := re.match(r"(#+)\s+(.+)", line))]
    ends = [
        next((j for j, other, _ in headings if j > i and len(other) <= len(marks)), len(lines))
        for i, marks, _ in headings
    ]
    return [(title, "\n".join(lines[i + 1 : end])) for (i, _, title), end in zip(headings, ends, strict=True)]


def files_are_small(root: Path) -> Iterator[str]:
    weights_mb = (root / "models" / "model.pt").stat().st_size / 1e6
    total_mb = sum(file.stat().st_size for file in root.rglob("*") if file.is_file()) / 1e6
    if weights_mb >= WEIGHTS_MB:
        yield f"models/model.pt has {weights_mb:.1f} MB, it must stay below {WEIGHTS_MB}: store float16"
    if total_mb >= BUNDLE_MB:
        yield f"the bundle has {total_mb:.1f} MB, it must stay below {BUNDLE_MB}"


def no_absolute_path(root: Path) -> Iterator[str]:
    for where, text in strings(root):
        absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute() or text.startswith("~")
        if absolute or PERSONAL.search(text):
            yield f"{where}: {text} names a path of one machine; build it from @bundle_root or @dataset_dir"


def no_macro(root: Path) -> Iterator[str]:
    for where, text in strings(root):
        if text.startswith("%"):
            yield f"{where}: {text} is a textual macro; write @ and the key"


def readers_are_named(root: Path) -> Iterator[str]:
    for where, node in nodes(root):
        target = node.get("_target_") if isinstance(node, dict) else None
        if re.search(r"(?:^|\.)LoadImage[dD]?(?:ict)?$", str(target)) and "reader" not in node:
            yield f"{where}: {target} names no reader, so the packages that happen to be installed choose it"


def strings(root: Path) -> Iterator[tuple[str, str]]:
    return ((where, node) for where, node in nodes(root) if isinstance(node, str))


def nodes(root: Path) -> Iterator[tuple[str, Any]]:
    """Every value at every level of every YAML config, with its place: "train.yaml train::trainer::device"."""
    for path in sorted((root / "configs").glob("*.yaml")):
        for key, value in entries(yaml.safe_load(path.read_text(encoding="utf-8"))):
            yield f"{path.name} {key}", value
