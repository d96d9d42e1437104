"""Try the installed wheel: its names, its independence, an AEF fitted and loaded again."""

import importlib.metadata
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import torch

import aef_worldmodel
from aef_worldmodel.data.datasets import load_images
from aef_worldmodel.image_models.trainer import load_model

FIT = "data=digits:16 model=aef-center latent_dim=2 width=8 updates=6 evaluate_every=3 samples=2"
LEFT_OUT = ("envs", "configs", "mujoco", "warp", "gymnasium", "imageio", "tensorboard", "psutil")


def check_names(wheel: Path) -> None:
    """Raise AssertionError unless the wheel brings one typed package with its data and version."""
    names = zipfile.ZipFile(wheel).namelist()
    version = importlib.metadata.version("aef-worldmodel")
    expected = {"aef_worldmodel", f"aef_worldmodel-{version}.dist-info"}
    assert {name.partition("/")[0] for name in names} == expected, names
    assert "aef_worldmodel/py.typed" in names
    assert "aef_worldmodel/data/builtin/digits.npz" in names
    assert aef_worldmodel.__version__ == version


def check_neighbours() -> None:
    """Raise AssertionError if the environment has more than the core, or `agents` is ours."""
    found = [name for name in LEFT_OUT if importlib.util.find_spec(name)]
    assert not found, f"{found} should not be installed with the core dependencies"
    from agents import Runner  # of the package openai-agents

    assert "aef" not in str(sys.modules["agents"].__file__), Runner


def check_fit(folder: Path) -> None:
    """Raise AssertionError unless an AEF can be fitted by the command, and loaded from its run."""
    command = [sys.executable, "-P", "-m", "aef_worldmodel.fit", *FIT.split(), f"run={folder}"]
    subprocess.run(command, check=True)
    images = load_images("digits:16").test[:64]
    with torch.no_grad():
        bits = load_model(folder).bits_per_dim(images)
    assert bits.shape == (64,) and bits.isfinite().all(), bits


if __name__ == "__main__":
    check_names(Path(sys.argv[1]))
    check_neighbours()
    check_fit(Path("run"))
    print(f"wheel: ok, aef_worldmodel {aef_worldmodel.__version__}")
