"""What `python -m monai.bundle run` takes in silence or tells in a page, as a sentence: for a config's `initialize`.

MONAI's command takes any --KEY, one that no config has too, and goes on with the old value; what a part of a config
refuses, an empty folder of data say, it wraps in a traceback that ends with the config's expression. In any other
process (`evoseg train`, MONAI Label, a notebook) nothing is done.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import yaml

from pipeline.data.config import SEPARATOR, keys, near, without_plus
from pipeline.errors import InputError, root_cause

COMMAND = ("monai", "bundle", "__main__.py")  # the end of argv[0] of `python -m monai.bundle`


def check_command_line() -> None:
    """InputError for a --KEY of MONAI's command that changes nothing; from here on an InputError ends it in a line."""
    if Path(sys.argv[0]).parts[-3:] != COMMAND or sys.argv[1:2] != ["run"]:
        return
    sys.excepthook = tell
    refuse_strange_arguments(sys.argv[2:])


def refuse_strange_arguments(argv: Sequence[str]) -> None:
    """InputError for a --KEY that is not MONAI's own, no key of the configs, and no argument of one of their parts.

    argv: as in a shell, `--key value` or `--key=value`. Without --config_file (so with --args_file) nothing is checked.
    """
    from monai.bundle import run

    named = [word for word in argv if word.startswith("--")]
    given = [word[2:].partition("=")[0].replace("-", "_").replace("#", SEPARATOR) for word in named]
    known = [key for file in config_files(argv) for key in keys(file)]
    own = list(inspect.signature(run).parameters)
    for key in map(without_plus, given):
        if known and not (key in known or key in own or key.rpartition(SEPARATOR)[0] in known):
            raise InputError(f"--{key}: no config has such a key; {near(key, [*known, *own])}")


def config_files(argv: Sequence[str]) -> list[Path]:
    """The files of --config_file, one or a list of them."""
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in ("--config_file", "--config-file"):
            files = yaml.safe_load(value if equals else following)
            return [Path(file) for file in ([files] if isinstance(files, str) else files)]
    return []


def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An excepthook: the sentence of an InputError anywhere in the chain, else Python's own traceback."""
    cause = root_cause(error)
    if isinstance(cause, InputError):
        sys.stderr.write(f"evoseg: {cause}\n")
    else:
        sys.__excepthook__(kind, error, trace)
