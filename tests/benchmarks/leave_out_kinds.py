"""A prepared dataset whose test part are the kinds of pictures that are named, and whose own test part is left out.

    python tests/benchmarks/leave_out_kinds.py DIR --shapes 383x512 260x347 -o LEFT_OUT

A kind is the size of a picture (`source_shape`), mostly a microscope. What is trained on LEFT_OUT and scored by
evaluate.yaml has not seen those kinds: it says what an augmentation is worth on pictures unlike those of training,
which stopping pictures of the same kinds do not, and looks at no test picture. The files stay in DIR, linked.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--shapes", nargs="+", required=True, help="rows x columns, as 383x512")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    described = json.loads((given.data / "dataset.json").read_text(encoding="utf-8"))
    left_out = {tuple(int(side) for side in shape.split("x")) for shape in given.shapes}
    if unknown := left_out - {tuple(case["source_shape"]) for case in described["cases"]}:
        parser.error(f"no picture of {given.data} is of {sorted(unknown)}")
    described["cases"] = [
        case | {"split": "test" if tuple(case["source_shape"]) in left_out else "train"}
        for case in described["cases"]
        if case["split"] != "test"
    ]
    given.output.mkdir(parents=True, exist_ok=True)
    for folder in ("images", "labels"):
        (given.output / folder).symlink_to((given.data / folder).resolve())
    (given.output / "dataset.json").write_text(json.dumps(described), encoding="utf-8")


if __name__ == "__main__":
    main()
