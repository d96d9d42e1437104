"""Settings of somebody else's run import installed packages alone, unless they are trusted."""

import sys

import pytest

from aef_worldmodel.utils.config.yaml_files import save
from aef_worldmodel.utils.errors import UserError
from agents.config import train as settings
from agents.config.hardware import HardwareConfig
from agents.config.trust import check_trusted, trust_word, untrusted_module
from agents.training.runs import load_run

PAYLOAD = "import pathlib; pathlib.Path('executed').touch()"


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """The folder of a run that was shared, with a module beside its settings."""
    run = tmp_path / "runs" / "shared"
    run.mkdir(parents=True)
    (run / "payload.py").write_text(PAYLOAD)
    task = "gym:runs.shared.payload:X-v0"
    save(run / "config.yaml", settings.TrainConfig(env=settings.EnvConfig(task=task), trust=True))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return run


def test_a_module_beside_saved_settings_is_not_executed(shared):
    sentence = r"config\.yaml names env\.task=gym:runs\.shared\.payload:X-v0, whose module .*trust="
    for read in (
        lambda: settings.load([f"resume={shared}"]),
        lambda: load_run(shared, HardwareConfig()),
    ):
        with pytest.raises(UserError, match=sentence):
            read()
    assert not (shared.parents[1] / "executed").exists()
    assert not any(name.startswith("runs") for name in sys.modules)
    assert settings.load([f"resume={shared}", "trust=true"]).trust
    assert trust_word("gym:runs.shared.payload:X-v0") == " trust=true"


@pytest.mark.parametrize(
    "task, module",
    [
        ("cheetah-run", None),
        ("dm_control:cheetah-run", None),
        ("gym:CarRacing-v3?crop=0,12,0,0", None),
        ("gym:gymnasium.envs:CarRacing-v3", None),
        ("gym:third_party:Steady-v0", "third_party"),
        ("gym:os:X-v0", "os"),
        ("gym:no_such_module:X-v0", "no_such_module"),
        ("gym:gymnasium:third_party:X-v0", "third_party"),
        ("gym:Shim-v0?env_id=third_party:X-v0", "third_party"),
        ("third_party:Task", "third_party"),
        ("dm_control:third_party:Task", "third_party"),
        ("gym:evil-numpy:X-v0", "evil-numpy"),
        ("gym:..evil:X-v0", "..evil"),
    ],
)
def test_modules_that_are_not_installed_packages(task, module):
    assert untrusted_module(task) == module
    if module:
        with pytest.raises(UserError, match="is not an installed package: give trust=true"):
            check_trusted(task, "config.yaml", trust=False)
    check_trusted(task, "config.yaml", trust=True)
