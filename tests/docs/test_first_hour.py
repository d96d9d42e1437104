"""docs/get-started/first-hour.md: every block is executed, in order, trainings made small."""

import importlib
import importlib.util
import re
import shlex
import types
from pathlib import Path

from pages import FENCE, ROOT, SMALL

PAGE = ROOT / "docs/get-started/first-hour.md"
BLOCKS = [(kind, body) for kind, body in FENCE.findall(PAGE.read_text()) if kind != "text"]
SHELL = ("python -m venv", "source ", "pip install ")  # tests/docs/test_code.py checks the extras
FEWER = {"frames": "4000", "eval.every": "1500", "episodes": "2"}


def test_every_block_runs_in_order_and_leaves_films_and_a_curve(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    session = types.ModuleType("session")  # the reader's Python session
    for kind, body in BLOCKS:
        if kind == "bash":
            for line in re.split(r"\n|&&", body.strip()):
                run(line.strip())
        elif name := re.match(r"# (\w+\.py)\n", body):
            Path(name[1]).write_text(body, encoding="utf-8")
        else:
            exec(compile(body, PAGE.name, "exec"), session.__dict__)
    films = tmp_path / "runs" / "cheetah-run-aef-0" / "evaluation"
    assert all((films / f"{name}.mp4").stat().st_size > 1_000 for name in ("episode", "dream"))
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    runs = " ".join(path.name for path in (tmp_path / "runs").iterdir())
    assert "Catch" in runs and "my_task" in runs


def run(line):
    """Run a command within this process; nothing is installed."""
    if line.startswith(SHELL):
        return
    python, option, module, *words = shlex.split(line)
    assert (python, option) == ("python", "-m")
    if "minigrid" in line and not importlib.util.find_spec("minigrid"):
        return  # an environment of another project, whose package is not installed here
    words = [path for word in words for path in expanded(word)]
    assert importlib.import_module(module).main(smaller(module, words)) == 0


def expanded(word):
    """Return the paths that a shell makes of a pattern, or the word itself."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


def smaller(module, words):
    """Return the words of a command with fewer frames, and of a new training with small sizes."""
    pairs = [word.partition("=") for word in words]
    given = {key for key, _, _ in pairs}
    fewer = [f"{key}{equals}{FEWER.get(key, value)}" for key, equals, value in pairs]
    if module != "agents.train":
        return fewer
    if "resume" in given:
        return [word.replace("frames=4000", "frames=4400") for word in fewer]
    return [*fewer, *(word for word in SMALL.split() if word.partition("=")[0] not in given)]
