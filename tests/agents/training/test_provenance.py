"""Provenance: a row says which command, commit and machine it comes from."""

import subprocess

from agents.config.hardware import HardwareConfig
from agents.training import provenance
from agents.training.provenance import command, commit, machine
from envs.verification import measured

CPU = HardwareConfig(device="cpu", threads=2, precision="float32")


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_a_changed_checkout_is_marked(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "__file__", str(tmp_path / "package" / "measured.py"))
    (tmp_path / "package").mkdir()
    assert commit() == "unknown"
    (tmp_path / "code.py").write_text("a = 1\n")
    git(tmp_path, "init")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-m", "first")
    clean = commit()
    assert len(clean) >= 7 and all(c in "0123456789abcdef" for c in clean)
    (tmp_path / "notes.txt").write_text("not under version control")
    assert commit() == clean
    (tmp_path / "code.py").write_text("a = 2\n")
    assert commit() == f"{clean}+"


def test_a_command_names_no_folders_of_the_machine():
    words = ["run=deep/down/cheetah-0", "resume=a/b", "seed=1", "models=[aef,vae]"]
    assert command("agents.probe", words) == (
        "python -m agents.probe run=cheetah-0 resume=b seed=1 'models=[aef,vae]'"
    )


def test_the_machine_is_named_with_threads_and_precision():
    assert machine(CPU).endswith(", 2 threads, float32")
    assert machine(HardwareConfig(threads=1, precision="bfloat16")).endswith("1 thread, bfloat16")


def test_a_row_of_results_has_all_three():
    row = provenance.provenance("agents.probe", ["seed=1"], CPU)
    assert row == {
        "command": "python -m agents.probe seed=1",
        "commit": commit(),
        "hardware": machine(CPU),
    }
