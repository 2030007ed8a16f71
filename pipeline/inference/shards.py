"""A share of the cases for each of several machines that a scheduler starts with the same command.

Every shard writes its cases' results where the whole run would, and a record of its own beside the others': OUT may be
one folder of a shared file system. The last step is the same command with --resume and without --shard: it takes the
shards' records together, removes them, and does what no shard has done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import InputError
from pipeline.io.discover import Case


@dataclass(frozen=True)
class Shard:
    """The share `number` (from 1) of `of`."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From "2/8". InputError: anything else."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise InputError(f"--shard {text}: give I/N with 1 <= I <= N, for example 2/8")
        return cls(int(found[1]), int(found[2]))

    @property
    def suffix(self) -> str:
        """What its files add to the name of the whole run's."""
        return f"-{self.number}-of-{self.of}"

    def share(self, cases: Sequence[Case]) -> list[Case]:
        """Every `of`-th of the cases in the order of their ids, so that shares of one list are equal in size."""
        mine = {case.id for case in sorted(cases, key=lambda case: case.id)[self.number - 1 :: self.of]}
        return [case for case in cases if case.id in mine]
