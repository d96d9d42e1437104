"""Every benchmark is a command of `key=value` words with a help text."""

import dataclasses
import importlib

import pytest

from aef_worldmodel.utils.config.schema import ConfigError, field_docs

COMMANDS = (
    "agents",
    "authors",
    "autoencoders",
    "builtin_data",
    "choices",
    "claims_page",
    "dm_control",
    "dream_validity",
    "envs",
    "expansion",
    "foresight",
    "frechet",
    "gradients",
    "learner",
    "paper_claims",
    "perfect_eye",
    "promises",
    "surprise",
)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_every_key_and_its_meaning(name, capsys):
    module = importlib.import_module(f"benchmarks.{name}")
    config = getattr(module, f"{name.title().replace('_', '')}Config")
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert text.startswith(f"usage: python -m benchmarks.{name} [key=value ...]")
    docs = field_docs(config)
    for field in dataclasses.fields(config):
        assert docs[field.name] and f"  {field.name}" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_other_words_are_refused(name):
    main = importlib.import_module(f"benchmarks.{name}").main
    with pytest.raises(ConfigError, match="expected key=value"):
        main(["run"])
    with pytest.raises(ConfigError, match="unknown key"):
        main(["nothing=1"])
