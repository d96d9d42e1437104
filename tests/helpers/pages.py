"""README and the pages of docs/: their code blocks, links, anchors and keys."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!`)\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
SMALL = """
    env=cheetah-run env.action_repeat=10 hardware=cpu hardware.num_envs=2 hardware.threads=1
    world_model.latent_dim=8 world_model.recurrent_dim=16 world_model.hidden_dim=16
    world_model.width=8 agent.imagination_batch=8 agent.horizon=3 replay.batch_size=2
    replay.sequence_length=6 frames=2000 prefill=400 pretrain=3 frames_per_update=15
    eval.every=2000 eval.episodes=2 checkpoint_every=1000
"""


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return [
        body for kind, body in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language
    ]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[tuple[Path, str]]:
    """Return the targets of links within the checkout, with their anchors."""
    found = []
    for target in LINK.findall(prose(page)):
        if not re.match(r"\w+:", target):
            path, _, anchor = target.partition("#")
            found.append(((page.parent / path).resolve() if path else page, anchor))
    return found


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as mkdocs makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading) for heading in headings]
    words = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in plain]
    return {re.sub(r"[-\s]+", "-", heading) for heading in words}


def commands(page: Path) -> list[str]:
    """Return the commands of bash blocks, one a string, loops and comments taken apart."""
    found = []
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"\s#.*$|^#.*$", "", line)
            line = re.sub(r"^for (\w+) in (\S+)[^;]*; do (.*); done$", _unrolled, line)
            found += [part.strip() for part in re.split(r"&&|;", line) if part.strip()]
    return found


def _unrolled(loop: re.Match[str]) -> str:
    """Return the body of a shell loop with the first value put in."""
    variable, value, body = loop.groups()
    return body.replace(f"${variable}", value)


def generator() -> ModuleType:
    """Return the module docs/generate.py."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
