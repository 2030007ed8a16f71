"""The recipes for containers take what is there, and what the wheel is built of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "configs" / "containers"
NEEDED = {"pyproject.toml", "README.md", "LICENSE", "evoseg.py", "pipeline", "data_prep", "bundles", "configs"}


def copied(recipe: str) -> set[str]:
    text = (RECIPES / recipe).read_text(encoding="utf-8")
    if recipe == "Dockerfile":
        lines = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    else:
        lines = re.findall(r"^    (\S+) /opt/evoseg/$", text, re.MULTILINE)
    return {name for line in lines for name in line.split()}


@pytest.mark.parametrize("recipe", ["Dockerfile", "apptainer.def"])
def test_a_recipe_copies_all_that_a_build_needs_and_nothing_that_is_not_there(recipe: str) -> None:
    assert copied(recipe) == NEEDED | {"constraints.txt"}
    assert all((ROOT / name).exists() for name in copied(recipe))


@pytest.mark.parametrize("recipe", ["Dockerfile", "apptainer.def"])
def test_no_recipe_names_an_index_of_packages(recipe: str) -> None:
    assert "https://" not in (RECIPES / recipe).read_text(encoding="utf-8")


def test_docker_is_sent_what_its_recipe_copies_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*" and {line[1:] for line in lines if line.startswith("!")} == copied("Dockerfile")
