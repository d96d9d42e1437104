"""What an exact likelihood notices: `python -m benchmarks.surprise`.

A finished run of the AEF plays; in the middle of each video a fault begins: a broken camera
(patch, frozen, noise, dark), another appearance (limb, camera, light) or other physics (gravity,
friction, mass, actuator). Every score of benchmarks.novelty judges the same videos, those of the
VAE and the RSSM from the runs of the same task and seed. A row has, for a task, seed, fault and
score:

    auroc          of the frames after the onset against usual frames at the same decisions
    delay          median decisions from the onset to the first alarm, at the threshold that 1 % of
                   the calibration frames exceed; inf where half of the videos have none
    detected       share of videos with an alarm
    false_alarms   share of the usual test frames that alarm

The runs are those of the study `likelihood` (`python -m agents.study likelihood`), as many as
there are: what is missing is said. Rows that are there are not made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import check_bounds
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.progress import Progress
from aef_worldmodel.utils.tables import Row, Table
from aef_worldmodel.world_models.surprise import Calibration, Surprise
from agents.config import train as settings
from agents.config.hardware import HardwareConfig, resolve
from agents.learning.learner import Learner
from agents.playing import sensor_faults
from agents.playing.env_factory import make_envs
from agents.playing.rollout import EnvLoop
from agents.playing.sensor_faults import FaultyCamera
from agents.training.provenance import provenance
from agents.training.recording import Recording
from agents.training.runs import LoadedRun, load_run, model_name
from agents.training.seeds import CALIBRATION
from benchmarks import novelty
from benchmarks.detection import alarms, auroc
from envs.changes import CHANGES, change, restore

KEY = ("task", "seed", "fault", "score")
ARMS = ("aef", "vae", "rssm")
TASKS = ("cheetah-run", "cartpole-swingup", "walker-walk", "finger-spin")
FALSE_ALARMS = 0.01  # of the calibration frames
ROWS = 1_000  # of the replay, for scores that learn from it


@dataclass(frozen=True)
class SurpriseConfig:
    """Settings of `python -m benchmarks.surprise`."""

    runs: tuple[str, ...] = ()
    """Folders of runs; none for those of the study `likelihood`."""
    study: str = "studies/likelihood"
    """Folder of the study."""
    videos: int = 16
    """Videos of each fault, played as one batch; as many usual ones, and three times as many for
    calibration."""
    decisions: int = 145
    """Length of a video."""
    onset: int = 20
    """Decisions before the fault begins."""
    samples: int = 64
    """Samples of the VAE's bound."""
    updates: int = 1_000
    """Updates of the random network's imitator."""
    out: str = "results/surprise.csv"
    """The CSV."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, videos=(2, 1_000), samples=(1, 10_000), updates=(1, None))
        check_bounds(self, onset=(1, None), decisions=(self.onset + 1, None))


class Videos(NamedTuple):
    """What was seen and done: N videos of T decisions."""

    frames: Tensor  # (N, T, C, H, W) uint8
    actions: Tensor  # (N, T, A)


class Arm(NamedTuple):
    """A run of one task and seed."""

    run: LoadedRun
    folder: Path


Group = dict[str, Arm]


def find_runs(asked: Any) -> list[Path]:
    """Return the folders of the runs that there are, of words `runs` and `study`."""
    folders = [Path(run) for run in asked.runs] or sorted(Path(asked.study, "runs").glob("*"))
    return [folder for folder in folders if (folder / "checkpoints").is_dir()]


def grouped(folders: Sequence[Path]) -> dict[tuple[str, int], dict[str, Path]]:
    """Return the runs by task and seed, and then by arm.

    Raises UserError if there is none of the AEF.
    """
    groups: dict[tuple[str, int], dict[str, Path]] = {}
    for folder in folders:
        config = settings.read(folder / "config.yaml")
        found = groups.setdefault((config.env.task, config.seed), {})
        found[model_name(config)] = folder
    groups = {key: found for key, found in groups.items() if "aef" in found}
    if not groups:
        raise UserError(
            "there is no finished run of world_model=aef: make some with `python -m agents.study "
            "likelihood`, or give runs=[RUN,...]"
        )
    return groups


def missing(groups: dict[tuple[str, int], dict[str, Path]], seeds: int = 3) -> list[str]:
    """Return sentences about runs of the study that are not there."""
    said = []
    for task in TASKS:
        for arm in ARMS:
            found = [key for key, arms in groups.items() if key[0] == task and arm in arms]
            if len(found) < seeds:
                said.append(f"{task} {arm}: {len(found)} of {seeds} seeds")
    return said


@torch.no_grad()
def play(learner: Learner, env: Any, seed: int, decisions: int, at: dict[int, Any]) -> Videos:
    """Play the run's policy; `at` has what is called with the environments before a decision."""
    loop = EnvLoop(env, learner, learner.agent.policy(False, learner.model))
    loop.reset(seed)
    rows = []
    for decision in range(decisions):
        if decision in at:
            at[decision](env)
        made = loop.step()
        rows.append((made.frame.clone(), made.action.clone()))
    return Videos(*(torch.stack(part, 1) for part in zip(*rows, strict=True)))


def faulty(learner: Learner, env: Any, fault: str, asked: SurpriseConfig, seed: int) -> Videos:
    """Return videos in which a fault begins with the frame of decision `onset`."""
    last = asked.onset - 1  # the decision whose action leads to the first faulty frame
    if fault in sensor_faults.KINDS:
        broken = FaultyCamera(env, fault, begin=asked.onset)
        return play(learner, broken, seed, asked.decisions, {})
    try:
        return play(learner, env, seed, asked.decisions, {last: lambda e: change(e, fault)})
    finally:
        restore(env)


def faults_of(env: Any) -> Iterator[str]:
    """Yield the faults that these environments can have."""
    yield from sensor_faults.KINDS
    for name in CHANGES:
        try:
            change(env, name)
        except ValueError:  # no gravity
            continue
        yield name
    restore(env)


def scorers(group: Group, usual: Videos, asked: SurpriseConfig) -> list[novelty.Scorer]:
    """Return every score that the runs of a group can give; `usual` videos calibrate."""
    aef: Any = group["aef"].run.learner.model
    seen = Surprise(aef, len(usual.frames)).episodes(*usual)
    data = Recording(group["aef"].folder)
    rows = data.sample(ROWS, 1, torch.Generator().manual_seed(0))["frame"][:, 0]
    found = [
        novelty.exact(aef, Calibration.of(seen)),
        novelty.reconstruction("AEF", aef),
        novelty.mahalanobis(aef, rows),
        novelty.distillation(rows, asked.updates),
    ]
    if "vae" in group:
        vae: Any = group["vae"].run.learner.model
        found += [novelty.vae_bound(vae, asked.samples), novelty.reconstruction("VAE", vae)]
    if "rssm" in group:
        rssm: Any = group["rssm"].run.learner.model
        found += [novelty.rssm_kl(rssm), novelty.reconstruction("RSSM", rssm)]
    return found


def score_all(found: list[novelty.Scorer], videos: Videos) -> novelty.Scores:
    """Return all scores of videos, name -> (N, T)."""
    scores: novelty.Scores = {}
    for score in found:
        scores |= score(*videos)
    return scores


def examine(group: Group, asked: SurpriseConfig, table: Table, source: Row) -> None:
    """Add the rows of one task and seed."""
    run, hardware = group["aef"].run, resolve(HardwareConfig(device="cpu", threads=1))
    config, learner = run.config, run.learner
    env = make_envs(config.env, asked.videos, hardware)
    seeds = [CALIBRATION.of(config.seed, place) for place in range(5)]
    usual = [play(learner, env, seed, asked.decisions, {}) for seed in seeds[:4]]
    found = scorers(group, usual[0], asked)  # p-values from other videos than the threshold's
    calibration = [score_all(found, videos) for videos in usual[1:3]]
    clean, onset = score_all(found, usual[3]), asked.onset
    faults = list(faults_of(env))
    with Progress(f"{config.env.task} seed {config.seed}", len(faults), "faults") as progress:
        for number, fault in enumerate(faults):
            scores = score_all(found, faulty(learner, env, fault, asked, seeds[3]))
            for name, values in scores.items():
                compared = torch.cat([part[name][:, 1:] for part in calibration]).flatten()
                threshold = compared.quantile(1 - FALSE_ALARMS).item()
                alarm = alarms(values, onset, clean[name][:, onset:], threshold)
                key = dict(zip(KEY, (config.env.task, config.seed, fault, name), strict=True))
                measured = {"auroc": auroc(clean[name][:, onset:], values[:, onset:])}
                own = next((arm for arm in ARMS if arm.upper() in name), "aef")
                trained = group[own].run.frames
                counts = {"frames": values[:, onset:].numel(), "trained": trained}
                table.add(key | measured | alarm._asdict() | counts | source)
            progress.update(number + 1)


def summary(rows: Sequence[Row]) -> str:
    """Return a table in Markdown: mean AUROC over tasks and seeds, a line a score."""
    faults = list(dict.fromkeys(row["fault"] for row in rows))
    names = list(dict.fromkeys(row["score"] for row in rows))
    lines = [f"| score | {' | '.join(faults)} |", "|---|" + "---|" * len(faults)]
    for name in names:
        cells = []
        for fault in faults:
            values = [
                float(row["auroc"]) for row in rows if (row["fault"], row["score"]) == (fault, name)
            ]
            cells.append(f"{sum(values) / len(values):.2f}" if values else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    """Measure what is not in the CSV yet, say which runs are missing and print the table."""
    asked = settings.load(argv, SurpriseConfig, "benchmarks.surprise")
    torch.set_num_threads(1)
    hardware = resolve(HardwareConfig(device="cpu", threads=1))
    groups = grouped(find_runs(asked))
    table, source = Table(asked.out, KEY), provenance("benchmarks.surprise", argv, hardware)
    for (task, seed), arms in groups.items():
        done = {r["fault"] for r in table.rows if (r["task"], r["seed"]) == (task, str(seed))}
        if "actuator" in done:  # the last fault
            continue
        torch.manual_seed(0)
        group = {n: Arm(load_run(f, hardware), f) for n, f in arms.items() if n in ARMS}
        examine(group, asked, table, source)
    for sentence in missing(groups):
        print(f"missing: {sentence}")
    print(summary(table.rows))
    return 0


if __name__ == "__main__":
    run_command(main)
