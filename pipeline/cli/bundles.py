"""`evoseg bundles [show|verify|export NAME]`: what there is, what it can do, whether it keeps the rules, to go."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.data import roots
from pipeline.errors import InputError

WIDTH_IN_A_PIPE = 200  # so that a script's grep finds whole cells

bundles = typer.Typer(add_completion=False, help="List the bundles; show a model card; verify or export a bundle.")


@bundles.callback(invoke_without_command=True)
def listing(ctx: typer.Context) -> None:
    """List the bundles; show a model card; verify or export a bundle."""
    if ctx.invoked_subcommand is not None:
        return
    from rich.console import Console
    from rich.table import Table

    found = roots.bundles()
    if not found:
        raise InputError(
            f"no bundles in {', '.join(map(str, roots.search_path()))}: set EVOSEG_BUNDLES to their folder"
        )
    table = Table("name", "version", "size", "score", "task", "licence", box=None, pad_edge=False)
    for column in table.columns[:3]:
        column.no_wrap = True
    for name, folder in found.items():
        meta = roots.metadata(folder)
        told = score(meta) if (folder / "models" / "model.pt").is_file() else "no weights yet: train it"
        table.add_row(name, meta.get("version"), size(folder), told, meta.get("task"), roots.licence(folder))
    Console(width=None if sys.stdout.isatty() else WIDTH_IN_A_PIPE).print(table)


@bundles.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A bundle.")]) -> None:
    """Show a bundle's model card."""
    from rich.console import Console
    from rich.markdown import Markdown

    card = Path(roots.bundle(name)) / "docs" / "README.md"
    if not card.is_file():
        raise InputError(f"{card} is missing: the bundle has no model card")
    Console().print(Markdown(card.read_text(encoding="utf-8")))


@bundles.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME|DIR]...", help="Bundles; all when none is named.")
    ] = None,
) -> None:
    """Check bundles against the rules, a line for each; exit status 1 when one is broken."""
    from pipeline.inference.verify import verify as check

    failed = 0
    for folder in map(Path, [roots.bundle(name) for name in names] if names else roots.bundles().values()):
        typer.echo(folder.name)
        for rule, problems in check(folder):
            typer.echo(f"  {'FAIL' if problems else 'ok':<4} {rule}")
            for problem in problems:
                typer.echo(f"       {problem}")
            failed += bool(problems)
    raise typer.Exit(1 if failed else 0)


@bundles.command()
def export(
    name: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A bundle.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="The file or folder to write.")],
    format: Annotated[str | None, typer.Option("--format", help="A file: torchscript, onnx or torch-export.")] = None,
    vendored: Annotated[bool, typer.Option("--vendored", help="A bundle folder that needs MONAI alone.")] = False,
) -> None:
    """Write a bundle's network as one file, checked against it, or the bundle as a folder; both run without evoseg."""
    if vendored == (format is not None):
        raise InputError("give either --format, for a file with the network, or --vendored, for a folder")
    if format is None:
        from pipeline.inference.vendored import vendor

        modules = vendor(name, output)
        typer.echo(f"{output}: with {len(modules)} modules in scripts; run it from within by python -m monai.bundle")
        return
    from pipeline.inference.export_network import export_bundle

    made = export_bundle(name, output, format=format)
    typer.echo(f"{made.file}: images of {made.sizes}, within {made.difference:.1e} of the network")


def score(meta: dict[str, Any]) -> str:
    """The bundle's evaluation metrics, in a line."""
    return ", ".join(f"{name} {value}" for name, value in meta.get("eval_metrics", {}).items())


def size(folder: Path) -> str:
    """Megabytes of the whole bundle."""
    return f"{sum(file.stat().st_size for file in folder.rglob('*') if file.is_file()) / 1e6:.1f} MB"
