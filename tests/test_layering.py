"""The shape of the code, held by a machine: who may import whom, and how long a thing may grow."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(
    path.relative_to(ROOT).as_posix() for folder in ("pipeline", "data_prep") for path in ROOT.glob(f"{folder}/**/*.py")
)
FLOORS = (
    {"errors"},
    {"numerics"},
    {"ode", "io", "metrics", "layers", "losses"},
    {"networks", "data", "handlers"},
    {"inference", "evaluation", "report"},
    {"cli"},
)
DATA_PREP_MAY_IMPORT = ("pipeline.io", "pipeline.numerics.signed_distance", "pipeline.errors", "data_prep")
HEAVY = {"torch", "monai", "numba", "pandas"}
LIGHT_ROOMS = ("cli", "io", "metrics", "evaluation", "report")

MAX_FILE_LINES, MAX_BODY_LINES, MAX_ARGUMENTS = 300, 40, 8
BROAD_EXCEPT_IN = ["pipeline/inference/clock.py"]  # attempt: one patient never stops the others

Function = ast.FunctionDef | ast.AsyncFunctionDef
every_module = pytest.mark.parametrize("module", MODULES)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[str]:
    """Dotted names that a module imports, anywhere in it."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively: write the full name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(module: str) -> Iterator[Function]:
    return (node for node in ast.walk(tree(module)) if isinstance(node, Function))


def room(dotted: str) -> str:
    return dotted.removesuffix(".py").replace("/", ".").split(".")[1]


def floor(name: str) -> int:
    return next(level for level, rooms in enumerate(FLOORS) if name in rooms)


def may_import(importer: str, imported: str) -> bool:
    return importer == imported or floor(imported) < floor(importer)


def test_the_floors_allow_down_and_forbid_up_and_sideways() -> None:
    assert may_import("cli", "inference") and may_import("io", "io")
    assert not may_import("io", "data") and not may_import("io", "metrics")


@every_module
def test_a_module_imports_from_lower_floors_only(module: str) -> None:
    ours = [name for name in imports(module) if name.split(".")[0] in ("pipeline", "data_prep")]
    if module.startswith("data_prep/"):
        wrong = [name for name in ours if not name.startswith(DATA_PREP_MAY_IMPORT)]
    elif module == "pipeline/__init__.py":
        wrong = ours
    else:
        own = room(module)
        wrong = [n for n in ours if not (may_import(own, room(n)) if n.startswith("pipeline.") else own == "cli")]
    assert not wrong, f"{module} imports {wrong}: it may import its own room and lower floors only"


@every_module
def test_an_init_is_empty_a_file_is_short_and_nothing_prints(module: str) -> None:
    lines = (ROOT / module).read_text(encoding="utf-8").count("\n")
    assert lines <= (0 if module.endswith("__init__.py") else MAX_FILE_LINES), f"{module} has {lines} lines"
    printing = [
        n.lineno for n in ast.walk(tree(module)) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "print"
    ]
    assert not printing, f"{module} prints in lines {printing}: use logging, or typer.echo in a verb"


@every_module
def test_a_function_is_short_and_takes_few_arguments(module: str) -> None:
    for function in functions(module):
        where = f"{module}:{function.lineno} {function.name}"
        assert body_lines(function) <= MAX_BODY_LINES, f"{where} has {body_lines(function)} lines of body"
        # A verb's parameters are the flags of the command line, which tests/test_cli_contract.py freezes.
        is_verb = module.startswith("pipeline/cli/") and any("Annotated" in ast.dump(a) for a in function.args.args)
        assert is_verb or arguments(function) <= MAX_ARGUMENTS, f"{where} takes {arguments(function)} arguments"


def body_lines(function: Function) -> int:
    """Lines from the first statement after the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def arguments(function: Function) -> int:
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def test_the_measures_count_what_they_say() -> None:
    function = ast.parse("def f(self, a, *, b):\n    'doc'\n    a\n    b\n").body[0]
    assert isinstance(function, ast.FunctionDef)
    assert (body_lines(function), arguments(function)) == (2, 2)


def test_there_is_one_broad_except_and_it_is_around_a_case() -> None:
    assert [module for module in MODULES for node in ast.walk(tree(module)) if is_broad(node)] == BROAD_EXCEPT_IN


def is_broad(node: ast.AST) -> bool:
    """`except:`, `except Exception` (also in a tuple) or `suppress(Exception)`."""
    if isinstance(node, ast.ExceptHandler):
        return node.type is None or "Exception'" in ast.dump(node.type)
    return isinstance(node, ast.Call) and "suppress" in ast.dump(node.func) and "Exception'" in ast.dump(node)


@pytest.mark.parametrize(
    ("code", "broad"),
    [
        ("try: ...\nexcept: ...", True),
        ("try: ...\nexcept (OSError, BaseException): ...", True),
        ("with contextlib.suppress(Exception): ...", True),
        ("try: ...\nexcept OSError: ...", False),
        ("with suppress(OSError): ...", False),
    ],
)
def test_every_form_of_a_broad_except_is_seen(code: str, broad: bool) -> None:
    assert any(map(is_broad, ast.walk(ast.parse(code)))) == broad


def test_light_rooms_import_without_torch_monai_numba_or_pandas() -> None:
    light = [
        m.removesuffix(".py").replace("/", ".") for m in MODULES if m.startswith("pipeline/") and room(m) in LIGHT_ROOMS
    ]
    light = [name.removesuffix(".__init__") for name in light]
    script = f"import {', '.join(light)}, sys; print(sorted({HEAVY} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "[]", f"loaded {ran.stdout}{ran.stderr}"


def test_every_package_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]  # what the library can do without
    declared = project["dependencies"] + extras["fast"] + extras["export"] + extras["ray"]
    declared = {normal(re.split(r"[^\w.-]", line)[0]) for line in declared}
    providers = importlib.metadata.packages_distributions()
    for module in MODULES:
        for top in (
            {name.split(".")[0] for name in imports(module)} - sys.stdlib_module_names - {"pipeline", "data_prep"}
        ):
            distributions = {normal(name) for name in providers.get(top, [top])}
            assert distributions & declared, f"{module} imports {top}, which pyproject.toml does not declare"


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
