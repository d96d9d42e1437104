"""The doctor reports what is installed, names what would go wrong, and never fails itself."""

import importlib.metadata
import os
import subprocess
import sys
from collections import namedtuple

import imageio_ffmpeg
import psutil
import pytest
import torch
import warp

import envs
from agents import doctor

CHECKS = {
    "packages": doctor.check_packages,
    "torch": doctor.check_torch,
    "warp": doctor.check_warp,
    "ffmpeg": doctor.check_ffmpeg,
    "run": lambda: doctor.check_run([]),
}


def problems(check):
    return [finding for finding in doctor._guarded(CHECKS[check]) if finding.remedy]


def test_this_machine_is_well(capsys):
    assert doctor.main([]) == 0
    printed = capsys.readouterr().out
    for topic in ("python", "torch", "mujoco-warp", "ffmpeg", "memory"):
        assert f"ok   {topic}" in printed
    assert "cheetah-run steps and renders (3, 64, 64)" in printed
    assert printed.endswith("Training would run: python -m agents.train\n")


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("hardware=gpuu", "settings     unknown hardware=gpuu: did you mean gpu?"),
        ("env.action_repeat=3", "environment  env=cheetah-run: action_repeat=3 does not"),
        ("env.image_size=50", "environment  cannot make the world model: images of 50x50 pixels"),
        ("replay.sequence_length=5", "environment  replay.sequence_length=5 leaves no row"),
        ("replay.sequence_length=9000", "settings     frames=100000 end before learning begins"),
        ("run=.", "run          . already holds a run"),
    ],
)
def test_a_wrong_word_is_a_problem(capsys, monkeypatch, tmp_path, word, sentence):
    for name in ("check_torch", "check_warp", "check_ffmpeg", "check_gl"):
        monkeypatch.setattr(doctor, name, list)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").touch()
    assert doctor.main([word]) == 1
    printed = capsys.readouterr().out
    assert f"BAD  {sentence}" in printed
    assert "-> correct the command line" in printed
    assert printed.endswith("1 problem would keep training from running.\n")


@pytest.mark.parametrize(
    "found, text, remedy",
    [
        ("4.0.0", "4.0.0 (needs <4,>=3.17)", "pip install 'mujoco<4,>=3.17'"),
        (None, "not installed (needs <4,>=3.17)", "pip install 'mujoco<4,>=3.17'"),
    ],
)
def test_packages_out_of_bounds(monkeypatch, capsys, found, text, remedy):
    version = importlib.metadata.version

    def pretend(name):
        if name != "mujoco":
            return version(name)
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", pretend)
    assert problems("packages") == [doctor.Finding("mujoco", text, remedy)]
    assert doctor.main([]) == 1
    assert "settings" not in capsys.readouterr().out  # nothing is imported from a broken set


def test_old_python(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9))
    assert [f.remedy for f in doctor.check_python()] == ["use Python 3.11 or newer"]


def test_a_package_that_does_not_start(monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    [finding] = problems("ffmpeg")
    assert finding.topic == "imageio_ffmpeg" and "does not start" in finding.text


def test_ffmpeg_that_does_not_run(monkeypatch):
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: "/nowhere/ffmpeg")
    [finding] = problems("ffmpeg")
    assert "/nowhere/ffmpeg" in finding.text and "imageio-ffmpeg" in finding.remedy


def test_kernel_cache_that_cannot_be_written(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    [finding] = problems("warp")
    assert finding.remedy.startswith("make ") and "WARP_CACHE_PATH" in finding.remedy


def test_gpu_that_only_torch_sees(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(warp, "is_cuda_available", lambda: False)
    [finding] = problems("warp")
    assert "R580" in finding.remedy and "hardware=cpu" in finding.remedy


@pytest.fixture
def no_environment(monkeypatch):
    monkeypatch.setattr(doctor, "check_environment", lambda config: [])


def test_full_disk(monkeypatch, no_environment):
    usage = namedtuple("usage", "total used free")(10, 5, 5)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    [finding] = problems("run")
    assert finding.topic == "disk" and "0.0 GB free" in finding.text
    assert "replay.capacity" in finding.remedy


def test_folder_that_cannot_be_written(monkeypatch, no_environment):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    [finding] = problems("run")
    assert finding.topic == "disk" and "cannot be written" in finding.text


def test_little_memory(monkeypatch, no_environment):
    memory = namedtuple("memory", "total available")(8e9, 1e9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    [finding] = problems("run")
    assert finding.topic == "memory" and "1.0 of 8.0 GB available" in finding.text


def test_environment_that_fails(monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("no kernels here\nmore")

    monkeypatch.setattr(envs, "make", fail)
    [finding] = problems("run")
    assert (finding.topic, finding.text) == ("environment", "RuntimeError: no kernels here")


def test_requirements_are_bounded():
    wanted = doctor.requirements()
    assert any(line.startswith("torch>=2.6,<2.14") for line in wanted)
    assert any(line.startswith("mujoco>=") for line in wanted)
    assert all(">=" in line and "<" in line for line in wanted)


def test_command_line():
    here = doctor.Path(doctor.__file__).parents[1]
    call = [sys.executable, "-m", "agents.doctor", "env=cheeta-run"]
    printed = subprocess.run(call, capture_output=True, text=True, cwd=here)
    assert printed.returncode == 1 and "did you mean cheetah-run" in printed.stdout
    assert "Traceback" not in printed.stderr
