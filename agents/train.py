"""`python -m agents.train env=cheetah-run`: learns a task from pixels in imagination."""

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from aef_worldmodel.errors import UserError, writing
from aef_worldmodel.persistence import list_checkpoints
from agents import entry
from agents.config import TrainConfig, load, save
from agents.hardware import describe
from agents.logbook import Logbook
from agents.offline import OfflineTrainer
from agents.progress import Progress
from agents.provenance import commit, machine
from agents.trainer import Trainer
from agents.words import agent_name, recipes


def run_folder(config: TrainConfig) -> Path:
    """Where the run is kept: `resume`, `run`, or runs/<task>[-<agent>]-<autoencoder>-<seed>.

    Raises UserError if a new run would overwrite another.
    """
    if config.resume:
        return Path(config.resume)
    agent = agent_name(type(config.agent))
    task = re.sub(r"[^\w.-]+", "-", config.env.task.removeprefix("gym:"))
    parts = [task, agent, config.world_model.autoencoder, str(config.seed)]
    name = "-".join(part for part in parts if part != "imagination")
    run = Path(config.run or Path("runs") / name)
    if (run / "config.yaml").exists():
        saved = bool(list_checkpoints(run / "checkpoints"))
        way = f"continue it with resume={run}" if saved else "it has no checkpoint yet: delete it"
        raise UserError(f"{run} holds a run already: {way}, or give another folder with run=...")
    return run


@contextmanager
def hold(run: Path) -> Iterator[None]:
    """Keeps a second process from writing into the same run; a refused start leaves no folder.

    Raises UserError if another process holds it, or it cannot be made.
    """
    new = not run.exists()
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the run's folder {run}: {error.strerror}") from error
    held = FileLock(run / "lock")
    try:
        held.acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"{run} is being trained by another process: end that one first") from error
    except OSError as error:
        raise UserError(f"cannot write into the run's folder {run}: {error.strerror}") from error
    try:
        yield
    finally:
        held.release()
        if new and not (run / "config.yaml").exists():
            shutil.rmtree(run)


def write_provenance(
    run: Path, argv: Sequence[str], config: TrainConfig, frames: int | None
) -> None:
    """Notes what it takes to make the run again: command, commit, machine; and what of it was
    another after the run was continued at so many `frames`, if it was."""
    path = run / "provenance.json"
    words = " ".join(word for word in argv if not word.startswith(("run=", "resume=")))
    now = {"commit": commit(), "hardware": machine(config.hardware)}
    if frames is None or not path.exists():
        facts = {"command": f"python -m agents.train {words}", **now}
    else:
        facts = read_provenance(path)
        if words:
            facts["command"] += f"; from {frames:,} frames on {words}"
        for name, value in now.items():
            if value not in facts[name].split("; "):
                facts[name] += f"; {value}"
    temporary = run / "provenance.json.tmp"
    with writing(path):
        temporary.write_text(json.dumps(facts, indent=1) + "\n")
        os.replace(temporary, path)


def read_provenance(path: Path) -> dict[str, str]:
    """What `write_provenance` wrote.

    Raises UserError for a file that does not hold it.
    """
    try:
        facts = json.loads(path.read_text())
        return {name: str(facts[name]) for name in ("command", "commit", "hardware")}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}): restore it, or delete it to go on "
            "without what it says of the run's beginning"
        ) from error


def stop_on_signals(trainer: Trainer, progress: Progress) -> None:
    """Ctrl-C and SIGTERM end the run after the current step; a second one ends it at once."""

    def stop(number: int, frame: object) -> None:
        if trainer.stopping:
            raise KeyboardInterrupt
        trainer.stopping = True
        progress.say("stopping after this step; press Ctrl-C again to stop without saving")

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def main(argv: Sequence[str]) -> int:
    """Trains as the settings say; 130 when interrupted."""
    config = load(argv)
    run = run_folder(config)
    with hold(run):
        return train(config, run, argv)


def train(config: TrainConfig, run: Path, argv: Sequence[str]) -> int:
    """Trains in a folder of its own; 130 when interrupted."""
    torch.set_num_threads(max(1, config.hardware.threads // 2))  # the learner runs two sides
    trainer = (OfflineTrainer if config.data else Trainer)(config, run)
    if trainer.learner.pool is None:
        torch.set_num_threads(config.hardware.threads)  # it runs one
    found = trainer.restore() if config.resume else None
    save(run / "config.yaml", config)
    resumed = trainer.frames if config.resume else None
    write_provenance(run, argv, config, resumed)
    minutes, skipped = (found.state["counters"]["minutes"], found.skipped) if found else (0.0, ())
    del found  # it is as large as all that was restored
    progress = Progress(f"{config.env.task} in {run}", config.frames, elapsed=60 * minutes)
    for sentence in (*skipped, describe(config.hardware)):
        progress.say(sentence)
    for (task, agent), path in recipes().items() if resumed is None else ():
        if task == config.env.task:
            own = agent == agent_name(type(config.agent))
            other = f"{task} has a recipe for agent={agent}, which this run does not use"
            progress.say(f"settings of {path}, unless words say otherwise" if own else other)
    stop_on_signals(trainer, progress)
    with Logbook(run, progress, resumed) as book:
        done = trainer.train(book)
    if not done:
        progress.say(f"stopped and saved; continue with: python -m agents.train resume={run}")
        return 130
    films = run / "videos"  # of evaluations, if it was long enough for one
    look = f"look at {films}, or: " if films.is_dir() else "evaluate it with: "
    progress.say(f"done; {look}python -m agents.evaluate run={run}")
    return 0


if __name__ == "__main__":
    entry.run(main)
