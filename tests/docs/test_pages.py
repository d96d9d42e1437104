"""Pages: links lead somewhere, lines are short, everything is near the README."""

import re

import pytest
from pages import PAGES, README, ROOT, anchors, links, name, prose

WIDTH = 120  # characters of a line
WANTED = {  # what a newcomer looks for
    "install": "docs/get-started/install.md",
    "first run": "docs/get-started/first-run.md",
    "add a task": "docs/how-to/new-task.md",
    "add an agent": "docs/how-to/new-agent.md",
    "all keys": "docs/reference/keys.md",
    "file formats": "docs/reference/files.md",
    "what a metric means": "docs/reference/metrics.md",
}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings(page):
    for target, anchor in links(page):
        assert target.exists(), f"{target} is missing"
        assert not anchor or anchor in anchors(target), f"{target}#{anchor} is missing"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lines_are_short(page):
    for number, line in enumerate(page.read_text().splitlines(), 1):
        assert len(line) <= WIDTH or line.startswith(("|", "![")), f"line {number}"


@pytest.mark.parametrize("wish", WANTED)
def test_what_a_newcomer_wants_is_two_links_from_the_readme(wish):
    first = {target for target, _ in links(README) if target.suffix == ".md"}
    second = {target for page in first for target, _ in links(page)}
    assert ROOT / WANTED[wish] in first | second


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_page_is_in_the_navigation(page):
    if page != README:
        path = page.relative_to(ROOT / "docs").as_posix()
        assert re.search(
            rf"(: |- ){re.escape(path)}$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE
        )


def test_the_readme_is_short():
    assert len(prose(README).splitlines()) < 110
