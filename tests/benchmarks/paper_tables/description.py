"""A table of a paper as YAML describes it: which cells it needs (network x dataset x seed), with which settings.

A table names its protocol (datasets, networks, seeds, the training they share) and what of it is shown. A comparison
"filters" gives every network the filters of train.yaml; "parameters" gives each the filters with which it has as many
parameters as the reference, within 5 %. Where both say the same filters there is one cell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.bundle import ConfigParser
from torch import nn

from pipeline.cli.train import parse_settings
from pipeline.data.config import entries
from pipeline.errors import InputError
from pipeline.io.json_file import read_json
from pipeline.networks.cost import matching_filters, parameters

KEYS = {"protocol", "title", "kind", "trains", "datasets", "networks", "comparisons", "conditions", "against", "paper"}
KEYS |= {"reference"}  # another than the protocol's
KEYS |= {"curve", "lowest"}  # of curves: what is measured, and where its axis begins
KEYS_OF_COSTS = {"channels", "sizes", "steps"}
COMPARISONS = ("parameters", "filters")
UNCONDITIONED: dict[str, Any] = {"as trained": {}}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One network trained on one dataset from one seed. config: train.yaml with all that the cell sets."""

    dataset: str
    network: str
    filters: tuple[int, ...]
    seed: int
    config: Mapping[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.dataset}, {self.network}, filters {'-'.join(map(str, self.filters))}, seed {self.seed}"

    def parser(self) -> ConfigParser:
        return ConfigParser(deepcopy(dict(self.config)))


@dataclass(frozen=True, kw_only=True)
class Line:
    """A network in one comparison on one dataset: its cells are its seeds."""

    dataset: str
    comparison: str
    network: str
    cells: tuple[Cell, ...]


class Table:
    """A description, read and checked. settings: KEY=VALUE of train.yaml, for every cell.

    InputError: a file that is not there, an unknown key, name or comparison.
    """

    def __init__(self, path: Path, settings: Sequence[str] = ()) -> None:
        self.path, self.content = path, _read(path)
        _known("key", self.content, KEYS | KEYS_OF_COSTS, path)
        protocol = _read(path.parent / self.content["protocol"])
        self.base = _read(path.parent / protocol["train"])
        self.settings = parse_settings(list(settings), [key for key, _ in entries(self.base)])
        self.networks, self.datasets = protocol["networks"], protocol["datasets"]
        self.title, self.kind = self.content["title"], self.content.get("kind", "scores")
        self.trains, self.against = self.content.get("trains", True), self.content.get("against")
        self.conditions: dict[str, Any] = self.content.get("conditions", UNCONDITIONED)
        quoted = self.content.get("paper", {})  # or another table's file, which quotes it
        quoted = _read(path.parent / quoted)["paper"] if isinstance(quoted, str) else quoted
        self.paper: dict[str, dict[str, list[list[float]]]] = quoted
        self.comparisons = self.content["comparisons"]
        self.reference = self.content.get("reference", protocol["reference"])
        chosen = self.content["networks"]
        self.shown: dict[str, list[str]] = (
            chosen if isinstance(chosen, dict) else {name: list(self.conditions) for name in chosen}
        )
        _known("network", [*self.shown, self.reference], set(self.networks), path)
        _known("dataset", self.content.get("datasets", []), set(self.datasets), path)
        _known("comparison", self.comparisons, set(COMPARISONS), path)
        _known("condition", [c for names in self.shown.values() for c in names], set(self.conditions), path)
        self._matched: dict[tuple[str, int], list[int]] = {}

    def named(self, network: str) -> str:
        """A network's title, after the labels that it is trained on where the protocol tells them."""
        described = self.networks[network]
        return ", ".join(described[key] for key in ("labels", "title") if key in described)

    def lines(self, data: Path, runs: Path) -> list[Line]:
        """All lines, in the order in which they are run; datasets that are not below `data` have none."""
        lines = []
        for name in (name for name in self.content["datasets"] if (data / name / "dataset.json").is_file()):
            channels = len(read_json(data / name / "dataset.json")["channels"])
            for network, comparison in product(self.shown, self.comparisons):
                filters = self.filters(network, comparison, channels)
                seeds = range(self.networks[network]["seeds"])
                cells = tuple(self._cell(data.resolve() / name, network, filters, seed, runs) for seed in seeds)
                lines.append(Line(dataset=name, comparison=comparison, network=network, cells=cells))
        return lines

    def filters(self, network: str, comparison: str, channels: int) -> list[int]:
        """The channels of each level of a network in a comparison, for pictures of so many channels."""
        own = self.base["filters"] if "filters" in self.base else self.base["network_def"]["filters"]
        given = list(self.settings.get("filters", own))
        if comparison == "filters" or network == self.reference:
            return given
        if (network, channels) not in self._matched:
            target = parameters(self.build(self.reference, given, channels))
            self._matched[network, channels] = matching_filters(
                lambda filters: self.build(network, filters, channels), target, like=given
            )
        return self._matched[network, channels]

    def build(self, network: str, filters: list[int], channels: int) -> nn.Module:
        """A network without data: for its cost."""
        chosen = self.networks[network].get("set", {}) | self.settings
        parser = self._configured(chosen | {"filters": filters, "in_channels": channels})
        with torch.device("meta"):
            return parser.get_parsed_content("network_def")

    def _cell(self, data: Path, network: str, filters: list[int], seed: int, runs: Path) -> Cell:
        dataset = data.name
        folder = runs / dataset / network / f"filters_{'-'.join(map(str, filters))}" / f"seed_{seed}"
        chosen = self.datasets[dataset].get("set", {}) | self.networks[network].get("set", {}) | self.settings
        places = {"dataset_dir": str(data), "output_dir": str(folder)}
        config = self._configured(chosen | {"filters": filters, "seed": seed} | places).config
        return Cell(dataset=dataset, network=network, filters=tuple(filters), seed=seed, config=config, folder=folder)

    def _configured(self, settings: Mapping[str, Any]) -> ConfigParser:
        parser = ConfigParser(deepcopy(self.base))
        for key, value in settings.items():
            parser[key] = deepcopy(value)
        return parser


def distinct(lines: list[Line]) -> Iterator[Cell]:
    """Every cell of the lines once, in their order."""
    seen = set()
    for cell in (cell for line in lines for cell in line.cells):
        if cell.folder not in seen:
            seen.add(cell.folder)
            yield cell


def plain(value: Any) -> Any:
    """A config as JSON gives it back."""
    return json.loads(json.dumps(value, default=str))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path} does not exist: a table is described in configs/tables/PAPER/TABLE.yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _known(what: str, given: Any, known: set[str], path: Path) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InputError(f"{path}: no {what} is called {', '.join(unknown)}; there are {', '.join(sorted(known))}")
