"""What networks have learned from wrong labels, at a glance: test pictures and masks of a table's cells, side by side.

    python tests/benchmarks/label_noise_figures.py TABLE.yaml --data DIR --runs RUNS [--pictures 4] -o OUT.png

After `fill_table.py TABLE.yaml --data DIR --runs RUNS` for a table of kind `labels` on one dataset of two classes; seed
0, the weights after the last epoch. The test pictures are as many as asked for, evenly spaced; the second mask is as
wrong as those that were trained on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from paper_tables.description import Cell, Table, distinct

from pipeline.data.datalist import cases
from pipeline.data.pictures import PictureDataset
from pipeline.io.whole_file import whole_file

COLUMNS = {  # title -> the cell whose answer is shown; before them picture, label and wrong label
    "right labels": "clean_plain",
    "wrong labels": "windows_plain",
    "wrong labels, layers": "windows_layers",
}


@torch.no_grad()
def row(cells: dict[str, Cell], sample: Mapping[str, Any]) -> list[NDArray]:
    """The picture, its label, its wrong label, and the answers."""
    noised = cells["windows_plain"].parser().get_parsed_content("label_noised")(dict(sample))["label"]
    shown = [
        np.moveaxis(np.asarray(sample["image"]), 0, -1),
        *(np.asarray(each[0]) for each in (sample["label"], noised)),
    ]
    for name in COLUMNS.values():
        parser = cells[name].parser()
        network = parser.get_parsed_content("network_def").eval()
        network.load_state_dict(torch.load(cells[name].folder / "last.pt", map_location="cpu", weights_only=True))
        scaled = parser.get_parsed_content("intensity")(dict(sample))["image"]
        shown.append(network(scaled[None]).argmax(1)[0].numpy())
    return shown


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="see the module's docstring")
    parser.add_argument("table", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    cells = {c.network: c for c in distinct(Table(given.table).lines(given.data, given.runs)) if c.seed == 0}
    config = cells["clean_plain"].config
    listed = cases(config["dataset_dir"], "test", fold=config["fold"])
    chosen = [listed[i] for i in np.linspace(0, len(listed) - 1, given.pictures).astype(int)]
    data = PictureDataset(chosen, classes=config["keep_classes"])
    rows = [row(cells, data[number]) for number in range(len(data))]
    titles = ["picture", "right label", "a wrong label", *(f"learned from\n{title}" for title in COLUMNS)]
    matplotlib.rcParams["font.size"] = 8
    figure = Figure(figsize=(1.6 * len(titles), 1.6 * len(rows) + 0.4), layout="constrained")
    for axes, shown in zip(figure.subplots(len(rows), len(titles), squeeze=False), rows, strict=True):
        for axis, image in zip(axes, shown, strict=True):
            axis.imshow(image / max(1e-6, float(image.max())), cmap="gray", interpolation="nearest")
            axis.set_axis_off()
    for axis, title in zip(figure.axes, titles, strict=False):
        axis.set_title(title)
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=100, metadata={"Software": None})
    with whole_file(given.output) as part:
        part.write_bytes(drawn.getvalue())


if __name__ == "__main__":
    main(sys.argv[1:])
