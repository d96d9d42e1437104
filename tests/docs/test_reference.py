"""Reference pages: keys, metrics and module names are those of the code."""

import csv
import importlib
import re
import subprocess
import sys

import pytest
from pages import ROOT

RUN = "runs/cheetah-run-aef-0"
PAGE = (ROOT / "docs/reference/metrics.md").read_text()
METRICS = re.findall(r"`((?:train|eval|open_loop)/\w+)`", PAGE)
COUNTERS = ["frames", "decisions", "updates", "minutes"]
PACKAGES = ("aef_worldmodel", "agents", "envs")
SOURCE = "".join(p.read_text() for top in PACKAGES for p in (ROOT / top).rglob("*.py"))
NAMES = re.findall(
    r"`((?:aef_worldmodel|agents|envs)(?:\.\w+)+)`", (ROOT / "docs/architecture.md").read_text()
)


@pytest.fixture(scope="module")
def columns(folder_with_run):
    with open(folder_with_run / RUN / "metrics.csv", encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


def test_the_page_of_keys_is_generated():
    words = [sys.executable, "docs/generate.py", "--check"]
    assert subprocess.run(words, cwd=ROOT).returncode == 0, "run: python docs/generate.py"


def test_every_column_of_a_run_is_explained(columns):
    assert set(columns) <= {*METRICS, *COUNTERS}


def test_no_column_is_explained_that_nothing_writes(columns):
    for metric in set(METRICS) - set(columns):
        assert f'"{metric.partition("/")[2]}"' in SOURCE, f"nothing writes {metric}"


def test_versions_are_those_of_pyproject():
    text = (ROOT / "docs/reference/versions.md").read_text()
    versions = re.findall(r"`([\w-]+>=[^`]+)`", text)
    assert len(versions) > 5
    project = (ROOT / "pyproject.toml").read_text()
    for version in versions:
        assert f'"{version}' in project, version
    cited = re.search(r"version = \{(.+)\}", (ROOT / "README.md").read_text())
    assert f'version = "{cited[1]}"' in project


@pytest.mark.parametrize("dotted", sorted(set(NAMES)))
def test_every_module_that_the_architecture_names_exists(dotted):
    try:
        importlib.import_module(dotted)
    except ModuleNotFoundError:
        module, _, attribute = dotted.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)


def test_the_picture_names_what_exists():
    """Class.method and the rooms of the SVG are names of the code."""
    names = {*PACKAGES, *(p.stem for top in PACKAGES for p in (ROOT / top).rglob("*"))}
    labels = re.findall(r'monospace">([^<]+)<', (ROOT / "docs/images/architecture.svg").read_text())
    assert len(labels) > 20
    for part in re.findall(r"\w+", " ".join(labels)):
        assert part in names or re.search(rf"(class|def) {part}\b", SOURCE), f"{part} is missing"
