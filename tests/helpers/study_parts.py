"""Studies of no cost: folders as trainings leave them, and a launcher that trains nothing."""

from pathlib import Path

from aef_worldmodel.utils.tables import Table
from agents.config.train import save
from agents.study.plan import PlannedRun, grid, parse_study

VALUES = {
    "tasks": ["cartpole-swingup", "cheetah-run"],
    "arms": {"aef": ["world_model=aef"], "rssm": ["world_model=rssm"]},
    "seeds": 2,
    "frames": 10_000,
    "words": ["hardware=cpu", "eval.every=5000"],
    "thresholds": {"cheetah-run": 150.0},
}


def study(**changes):
    """Return a study of eight runs."""
    return parse_study("tiny", VALUES | changes)


def planned(out, **changes):
    """Return the trainings of the study in a folder."""
    return grid(study(**changes), Path(out))


def leave(run: PlannedRun, frames: int, returns=(), metrics=True) -> None:
    """Leave a folder as a training of so many frames does; its checkpoint is empty."""
    (run.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    save(run.folder / "config.yaml", run.config)
    (run.folder / "provenance.json").write_text(
        '{"command": "python -m agents.train", "commit": "abc", "hardware": "a CPU"}'
    )
    if frames:
        (run.folder / "checkpoints" / f"step_{frames:012}.safetensors").touch()
    if not metrics:
        return
    path = run.folder / "metrics.csv"
    path.unlink(missing_ok=True)
    rows = [
        {"frames": 1000 * i, "updates": 100 * i, "minutes": i / 10, "train/loss": 1.0}
        for i in range(1, frames // 1000 + 1)
    ]
    every = 10_000 // max(1, len(returns))
    for i, value in enumerate(returns, 1):
        row = {"frames": every * i, "updates": 100, "minutes": i * every / 1e4}
        rows.append(row | {"eval/return": value, "eval/std": 1.0})
    Table(path).add(*rows)


class FakeJob:
    """Ends with its code at the second look; saves when it is stopped."""

    def __init__(self, launcher, code, end):
        self.launcher, self.code, self.end, self.looks = launcher, code, end, 0
        launcher.running += 1
        launcher.most = max(launcher.most, launcher.running)

    def poll(self):
        if self.code is None:
            return None
        self.looks += 1
        if self.looks < 2:
            return None
        self.launcher.running -= 1
        self.end()
        return self.code

    def stop(self):
        self.code, self.looks = 130, 1


class FakeLauncher:
    """Trains nothing: each start takes the next exit code, and code 0 leaves a whole run.

    A code None never ends by itself.
    """

    def __init__(self, runs, codes=()):
        self.runs = {str(run.folder): run for run in runs}
        self.codes, self.started, self.running, self.most = list(codes), [], 0, 0

    def start(self, words, log):
        pairs = dict(word.partition("=")[::2] for word in words)
        run = self.runs[pairs.get("run") or pairs["resume"]]
        self.started.append((run.name, dict(pairs)))
        code = self.codes.pop(0) if self.codes else 0
        Path(log).write_text(f"...\nerror: ended with {code}\n", encoding="utf-8")

        def end():
            frames = run.config.frames if code == 0 else 4_000 if code == 1 else 0
            if frames:
                leave(run, frames, (100.0, 200.0) if code == 0 else ())

        return FakeJob(self, code, end)
