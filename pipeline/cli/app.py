"""The command line: one file a verb, each imported only when it is called, so that `evoseg --help` is instant."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from pipeline.errors import CaseError, InputError

# verb -> (its module, which holds a function or a Typer of the verb's name; its line in the help)
VERBS: dict[str, tuple[str, str]] = {
    "segment": ("pipeline.cli.segment", "Segment images: one file, several, or folders."),
    "refine": ("pipeline.cli.refine", "Refine masks of any tool: evolve their contours."),
    "evaluate": ("pipeline.cli.evaluate", "Score label maps against references."),
    "compare": ("pipeline.cli.compare", "Say which of several methods is better, and how surely."),
    "prepare": ("pipeline.cli.prepare", "Turn a public or own data set into a dataset folder for training."),
    "train": ("pipeline.cli.train", "Train a bundle, or go on where its training stopped."),
    "bundles": ("pipeline.cli.bundles", "List the bundles; show a model card; verify or export a bundle."),
    "pacs": ("pipeline.cli.pacs", "Segment series of a PACS by DICOMweb, and send the results back."),
    "doctor": ("pipeline.cli.doctor", "Check this installation: versions, device, decoders, bundles."),
}


class LazyGroup(TyperGroup):
    """A group that knows its verbs by name and help line, and imports one only to run it.

    InputError becomes a sentence on stderr and exit status 2, and so does CaseError where it is not about a case (a
    table cannot be written); cli/logs.py shows the traceback with -v.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {verb: TyperCommand(name=verb, help=line) for verb, (_, line) in VERBS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        verb, stub, rest = super().resolve_command(ctx, args)
        return verb, stub if verb is None else load(verb), rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (InputError, CaseError) as error:
            typer.echo(f"evoseg: {error}", err=True)
            raise typer.Exit(2) from error


def load(verb: str) -> Any:
    """The command of a verb, from its module."""
    target = getattr(importlib.import_module(VERBS[verb][0]), verb)
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(add_completion=False)
        target.command(verb)(function)
    return typer.main.get_command(target)


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"evoseg {importlib.metadata.version('evoseg')}")
        raise typer.Exit


@app.callback()
def evoseg(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Segment medical images by evolutions: a folder of scans in, labels on each scan's own grid out."""
