"""Writers for optional packages, against stand-ins that record what the packages would receive."""

import io
import sys
import types
from pathlib import Path

import pytest
import torch
from PIL import Image

from aef_worldmodel.utils.errors import UserError
from agents.training.logging.run_logger import RunLogger
from agents.training.logging.writers.tensorboard import flatten

FILM = torch.randint(0, 256, (4, 20, 30, 3), dtype=torch.uint8)
ROW = {"frames": 10, "decisions": 5, "updates": 1, "eval/return": 2.5}


def record(run, name, resumed_at=None):
    with RunLogger(run, "x", 99, [name], {"seed": 1}, resumed_at=resumed_at) as logger:
        logger.scalars(ROW)
        logger.image("strip", FILM[0], 10)
        logger.video("dream", FILM, 10, fps=20)


class Package(types.ModuleType):
    """The functions that both packages share; `logged` and `begun` are what they received."""

    class Error(Exception):
        """What wandb raises."""

    def __init__(self, name):
        super().__init__(name)
        self.logged, self.begun, self.finished, self.id = [], [], 0, "abc123"

    def init(self, *args, **options):
        self.begun.append((args, options))
        return self

    def log(self, values, step=None):
        self.logged.append((values, step))

    def define_metric(self, name, step_metric):
        self.metric = (name, step_metric)

    def finish(self):
        self.finished += 1

    def Image(self, array):
        return ("image", array.shape, str(array.dtype))

    def Video(self, data, format="gif"):
        raw = data.read() if isinstance(data, io.BytesIO) else Path(data).read_bytes()
        with Image.open(io.BytesIO(raw)) as film:
            return ("video", film.n_frames, film.size, film.info["duration"])


@pytest.fixture
def package(monkeypatch, request):
    made = Package(request.param)
    monkeypatch.setitem(sys.modules, request.param, made)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return made


@pytest.mark.parametrize("package", ["wandb", "trackio"], indirect=True)
def test_numbers_images_and_videos_arrive(tmp_path, package):
    record(tmp_path / "cheetah-0", package.__name__)
    numbers, image, video = (dict(values) for values, _ in package.logged)
    steps = {step if step is not None else values["frames"] for values, step in package.logged}
    assert steps == {10} and package.finished == 1
    assert numbers.pop("minutes") >= 0 and numbers == ROW
    assert image["strip"] == ("image", (20, 30, 3), "uint8")
    assert video["dream"] == ("video", 4, (30, 20), 50)
    (_, options), *_ = package.begun
    assert options["name"] == "cheetah-0" and options["config"] == {"seed": 1}


@pytest.mark.parametrize("package", ["wandb"], indirect=True)
def test_wandb_resumes_the_record_of_the_run(tmp_path, package, monkeypatch):
    record(tmp_path, "wandb")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    record(tmp_path, "wandb", resumed_at=5)
    record(tmp_path, "wandb")
    assert [options["id"] for _, options in package.begun] == [None, "abc123", None]
    projects = [options["project"] for _, options in package.begun]
    assert projects == ["aef-world-model", "mine", "mine"]
    assert package.metric == ("*", "frames")  # a resumed run may go back


@pytest.mark.parametrize("package", ["trackio"], indirect=True)
def test_trackio_resumes_by_name(tmp_path, package):
    record(tmp_path, "trackio")
    record(tmp_path, "trackio", resumed_at=5)
    assert [options["resume"] for _, options in package.begun] == ["never", "allow"]


@pytest.mark.parametrize("package", ["wandb"], indirect=True)
def test_wandb_without_an_account_is_one_sentence(tmp_path, package, monkeypatch):
    def refuse(**_):
        raise package.Error("api_key not configured")

    monkeypatch.setattr(package, "init", refuse)
    with pytest.raises(UserError, match=r"wandb cannot start \(api_key not .*WANDB_MODE=offline"):
        record(tmp_path, "wandb")


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError) as caught:
        record(tmp_path, name)
    assert str(caught.value).startswith(f"log=[{name}] needs the package {name} (")
    assert str(caught.value).endswith(f": pip install {name}, or leave {name} out of log")


def test_settings_are_flat_for_tensorboard():
    nested = {"seed": 1, "lr": {"model": 3e-4, "deep": {"on": True}}, "run": None, "log": ["a"]}
    assert flatten(nested) == {
        "seed": 1,
        "lr.model": 3e-4,
        "lr.deep.on": True,
        "run": "None",
        "log": "['a']",
    }
