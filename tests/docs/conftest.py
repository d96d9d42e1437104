"""A real run of seconds, where the pages say that a run is."""

import os
import subprocess
import sys

import pytest
from pages import ROOT, SMALL

from aef_worldmodel.data.episodes import write_info
from aef_worldmodel.utils.config.schema import to_dict
from agents.config.sections import EnvConfig


@pytest.fixture(scope="session")
def folder_with_run(tmp_path_factory):
    """A folder in which `runs/cheetah-run-aef-0` has been trained."""
    folder = tmp_path_factory.mktemp("docs")
    words = [sys.executable, "-m", "agents.train", *SMALL.split()]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environ = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    write_info(folder / "data", {"env": to_dict(EnvConfig())})  # as agents.collect does
    return folder
