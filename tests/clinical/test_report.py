"""A report in a real browser: it sorts, filters and enlarges, runs nothing that a name holds, and fetches nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.io.table import read_table, write_table
from pipeline.report.html import write_report

# `make test` collects this file where the extra is not installed; `make test-clinical` installs it
webdriver = pytest.importorskip("selenium.webdriver")
support = pytest.importorskip("selenium.webdriver.support.ui")
pytestmark = pytest.mark.clinical

DEMO = Path(__file__).resolve().parents[1] / "data" / "demo"
KIDNEYS = "kidney_ct_regression_segmentation"
HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>')  # names of folders and files, too
BROKEN = "<img src=x onerror=alert(3)>"
FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync", "disable-dev-shm-usage", "window-size=1400,1000"),
)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `evoseg segment` leaves of a real scan, two small ones, and one that is cut short; with hostile names.

    Discovery makes harmless ids of such names: they are put back here, as somebody might who writes cases.csv.
    """
    scans, out = tmp_path_factory.mktemp("scans"), tmp_path_factory.mktemp("out")
    shutil.copytree(DEMO / "liver_dicom", scans / "liver")
    for k in range(2):
        air = nib.Nifti1Image(np.full((40, 40, 6 + k), -1000, np.int16), np.diag([8.0, 8.0, 5.0, 1.0]))
        nib.save(air, scans / f"air_{k}.nii.gz")
    (scans / f"{BROKEN}.nii.gz").write_bytes((scans / "air_0.nii.gz").read_bytes()[:200])
    arguments = ["segment", str(scans), "-o", str(out), "--bundle", KIDNEYS, "--device", "cpu"]
    assert CliRunner().invoke(app, arguments).exit_code == 1
    rows = read_table(out / "cases.csv")
    for k, name in enumerate(HOSTILE):
        (row,) = (row for row in rows if row["id"] == f"air_{k}")
        row["id"] = name
        (out / "overlays" / f"{name}.png").parent.mkdir(exist_ok=True)
        (out / "overlays" / f"air_{k}.png").rename(out / "overlays" / f"{name}.png")
    write_table(out / "cases.csv", list(rows[0]), rows)
    write_report(out)
    return out


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium that has never been used."""
    home = tmp_path_factory.mktemp("home")
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"user-data-dir={home / 'profile'}"):
        options.add_argument(f"--{flag}")
    options.binary_location = program("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(program("chromedriver"), env={**os.environ, "HOME": str(home)})
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def page(batch: Path, browser: Any, tmp_path: Path) -> Iterator[Any]:
    """The report, taken away from its folder. Afterwards: it has neither complained nor asked for anything."""
    browser.get(f"file://{shutil.copy(batch / 'report.html', tmp_path)}")
    yield browser
    assert browser.get_log("browser") == []
    assert [url for url in requested(browser) if not url.startswith("data:image/webp;")] == [browser.current_url]


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not installed: apt-get install chromium chromium-driver"
    return found


def requested(browser: Any) -> list[str]:
    """What the page in the browser, itself included, has asked for; not what the browser shows before it."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [each["params"] for each in events if each["method"] == "Network.requestWillBeSent"]
    return [each["request"]["url"] for each in asked if each["documentURL"] == browser.current_url]


def find(page: Any, selector: str) -> Any:
    return page.find_element("css selector", selector)


def shown(page: Any) -> list[str]:
    """The names in the rows that are seen, from above."""
    return [row.text for row in page.find_elements("css selector", "tbody tr:not([hidden]) .case")]


def head(page: Any, words: str) -> Any:
    return next(each for each in page.find_elements("css selector", "thead th") if each.text.startswith(words))


def test_hostile_names_are_shown_and_nothing_else(page):
    assert {"liver", *HOSTILE} < set(shown(page))
    assert BROKEN in find(page, "tr[data-state=failed] .said").text
    assert page.execute_script("return document.scripts.length") == 1
    assert not page.find_elements("css selector", "img[onerror]")


def test_a_click_on_a_column_sorts_it_up_down_and_as_it_was(page):
    first = shown(page)
    turns = []
    for _ in range(3):
        head(page, "Case").find_element("css selector", "button").click()
        turns.append((head(page, "Case").get_attribute("aria-sort"), shown(page)))
    (up, rising), (down, falling), (none, last) = turns
    assert (up, down, none) == ("ascending", "descending", "none")
    assert rising == falling[::-1] and len(rising) == 4
    assert last == first


def test_numbers_are_sorted_as_numbers_and_what_has_none_comes_last(page):
    for _ in range(2):
        head(page, "kidney").find_element("css selector", "button").click()
        assert shown(page)[-1] == find(page, "tr[data-state=failed] .case").text


def test_words_and_states_filter(page):
    find(page, "#search").send_keys("LIVER")
    support.WebDriverWait(page, 10).until(lambda page: shown(page) == ["liver"])
    find(page, "#clear").click()
    find(page, "button[data-state=failed]").click()
    assert find(page, "tbody tr:not([hidden]) .said").text.startswith("TRUNCATED")
    assert find(page, "#showing").text == "1 of 4"
    find(page, "button[data-state=failed]").click()
    find(page, "button[data-remark='EMPTY:kidney']").click()
    assert len(shown(page)) == 3


def test_a_keyboard_enlarges_moves_on_and_comes_back(page):
    button = find(page, ".picture button")
    page.execute_script("arguments[0].focus()", button)
    button.send_keys(webdriver.Keys.ENTER)
    names = shown(page)
    assert find(page, "#viewed").text == names[0]
    assert page.execute_script("return document.querySelector('#viewer img').naturalWidth") > 200
    find(page, "#viewer").send_keys(webdriver.Keys.ARROW_RIGHT)
    assert find(page, "#viewed").text == names[1]
    find(page, "#viewer").send_keys(webdriver.Keys.ESCAPE)
    assert not page.execute_script("return document.getElementById('viewer').open")
    focused = "return document.activeElement.getAttribute('aria-label')"  # moved by an event that follows the closing
    support.WebDriverWait(page, 10).until(lambda page: page.execute_script(focused) == f"Enlarge {names[1]}")
