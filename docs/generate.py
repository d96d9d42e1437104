"""Write docs/reference/keys.md from the settings dataclasses: `python docs/generate.py`.

With `--check` nothing is written; the exit code is 1 if the page is not up to date.
"""

import sys
from dataclasses import fields
from pathlib import Path

from aef_worldmodel.image_models.config import FitConfig
from aef_worldmodel.utils.config.help import Section, sections
from aef_worldmodel.utils.config.schema import default_of
from agents.collect import CollectConfig
from agents.config.train import TrainConfig
from agents.evaluate import EvaluateConfig
from agents.evolve import EvolveConfig
from agents.export import ExportConfig
from agents.export_dream import ExportDreamConfig
from agents.plot import PlotConfig
from agents.probe import ProbeConfig
from agents.study.__main__ import StudyConfig

PAGE = Path(__file__).parent / "reference" / "keys.md"
COMMANDS = {  # module -> its settings
    "agents.train": TrainConfig,
    "agents.evaluate": EvaluateConfig,
    "agents.collect": CollectConfig,
    "agents.probe": ProbeConfig,
    "agents.study": StudyConfig,
    "agents.evolve": EvolveConfig,
    "agents.export": ExportConfig,
    "agents.export_dream": ExportDreamConfig,
    "agents.plot": PlotConfig,
    "aef_worldmodel.fit": FitConfig,
}
HEAD = """# Keys

Every key of every command, generated from the settings dataclasses by `python docs/generate.py`;
`--help` prints the same. How groups and presets work: [commands](commands.md).

`agents.doctor` takes the keys of `agents.train`. Groups that another command shares with
`agents.train` (`env`, `agent`, `hardware`, ...) are listed there once.
"""


def page() -> str:
    """Return the text of the page."""
    parts, known = [HEAD], set()
    for command, kind in COMMANDS.items():
        parts.append(f"## {command}\n")
        for section in ordered(kind):
            if section.title not in known or not section.title:
                parts.append(table(section))
            known.add(section.title)
    return "\n".join(parts)


def ordered(kind: type) -> list[Section]:
    """Return the sections of a settings dataclass; of alternatives the default comes first."""
    order = [field.name for field in fields(kind)]
    usual = {f"{f.name}={getattr(default_of(f), 'kind', None)}" for f in fields(kind)}
    owner = ""

    def place(section: Section) -> tuple[int, bool, str]:
        nonlocal owner
        if section.title.partition(".")[0] == section.title:
            owner = section.title  # a nested group follows the alternative it belongs to
        group = owner.partition("=")[0]
        return (order.index(group) if group else -1, owner not in usual, owner)

    return sorted(sections(kind), key=place)


def table(section: Section) -> str:
    """Return the heading, the sentence and the table of a section."""
    head = [f"### {section.title}", "", section.meaning, ""] if section.title else []
    rows = [f"| `{k.key}` | `{k.default}` | {escape(k.meaning)} |" for k in section.keys]
    return "\n".join([*head, "| key | default | meaning |", "|---|---|---|", *rows, ""])


def escape(text: str) -> str:
    """Return a text for a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page()))
    PAGE.write_text(page(), encoding="utf-8")
