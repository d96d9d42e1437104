"""Code in README and docs: python blocks run, commands are parsed, keys exist."""

import importlib.util
import re
import shlex
import sys
import tomllib
import types

import pytest
from pages import CODE, PAGES, ROOT, blocks, commands, generator, name, prose

from aef_worldmodel.image_models.config import load as load_fit
from aef_worldmodel.utils.config.schema import leaves
from aef_worldmodel.utils.errors import UserError
from agents.config.train import load

GENERATE = generator()
HISTORY = ("docs/notebook", "docs/results")  # older settings have older names
CURRENT = [page for page in PAGES if not name(page).startswith(HISTORY)]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
PLAIN = ("pytest", "tensorboard", "source", "python -m venv", "python -m mkdocs", "pre-commit")
SETTINGS = GENERATE.COMMANDS | {"agents.doctor": GENERATE.COMMANDS["agents.train"]}
KEYS = {key for kind in SETTINGS.values() for key in leaves(kind)}
GROUPED = re.compile(
    r"((env|world_model|agent|objective|lr|ema|replay|eval|hardware)(\.[a-z_]+)+)(=[^ ]*)?"
)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=name)
def test_python_blocks_run(page, folder_with_run, monkeypatch):
    monkeypatch.chdir(folder_with_run)
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    for block in blocks(page, "python"):
        small = re.sub(r"in range\(\d{3,}\)", "in range(2)", block)
        exec(compile(small, name(page), "exec"), module.__dict__)


@pytest.mark.parametrize("page, command", [(name(p), c) for p in CURRENT for c in commands(p)])
def test_commands_exist_and_take_their_words(page, command, folder_with_run, monkeypatch):
    monkeypatch.chdir(folder_with_run)
    program, *words = shlex.split(command)
    if command.startswith("pip install"):
        names = [n for group in re.findall(r"\[([\w,]+)\]", command) for n in group.split(",")]
        assert set(names) <= set(EXTRAS)
    elif command.startswith("python -m ") and not command.startswith(PLAIN):
        module, *words = words[1:]
        assert importlib.util.find_spec(module)
        if module in SETTINGS and "--help" not in words:
            words = [word.replace("hardware=gpu", "hardware=cpu") for word in words]
            words = [word for word in words if not word.startswith("runs/")]  # of agents.plot
            load_fit(words) if module.endswith("fit") else load(words, SETTINGS[module])
    elif program == "python" and words[0] != "-m":
        assert (ROOT / words[0]).is_file()
        load([word for word in words[1:] if "=" in word])
    else:
        assert command.startswith(PLAIN)


@pytest.mark.parametrize("page", CURRENT, ids=name)
def test_extras_in_prose_exist(page):
    for extras in re.findall(r"`pip install -e '\.\[([\w,]+)\]'`", prose(page)):
        assert set(extras.split(",")) <= set(EXTRAS)


@pytest.mark.parametrize("transcript", [b for p in CURRENT for b in blocks(p, "console")])
def test_transcripts_of_refused_commands_are_true(transcript):
    command, answer = transcript.strip().removeprefix("$ ").split("\n")
    _, _, module, *words = shlex.split(command)
    with pytest.raises(UserError) as refusal:
        load(words, SETTINGS[module])
    assert answer == f"error: {refusal.value}"


@pytest.mark.parametrize("page", CURRENT, ids=name)
def test_keys_in_prose_exist(page):
    for code in CODE.findall(prose(page)):
        if found := GROUPED.fullmatch(code):
            assert found[1] in KEYS or code in sys.modules, f"{code} is not a key"
