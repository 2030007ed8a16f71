"""The command `evoseg`, and `python -m evoseg`.

It stands outside the package because `pipeline` is a common name: when another `pipeline` comes first on the import
path, nothing inside ours could say so.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    """Run the command line, or stop with exit status 2 when `import pipeline` would bring somebody else's package."""
    ours = Path(__file__).resolve().parent / "pipeline" / "__init__.py"
    found = find_spec("pipeline")  # finds it without running it
    origin = found.origin if found else None
    if origin is None or Path(origin).resolve() != ours:
        sys.stderr.write(
            f"evoseg: another package named `pipeline` ({origin or 'a folder without __init__.py'}) hides evoseg's own "
            f"({ours.parent}). Start from another folder, take it off PYTHONPATH, or give evoseg its own environment.\n"
        )
        sys.exit(2)
    from pipeline.cli.app import app

    app(prog_name="evoseg")


if __name__ == "__main__":
    main()
