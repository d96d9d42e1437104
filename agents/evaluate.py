"""`python -m agents.evaluate run=RUN_DIR`: play a trained agent; returns, film, open-loop strip."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import ConfigError, check_bounds, to_dict
from aef_worldmodel.utils.errors import UserError, writing
from aef_worldmodel.utils.tables import Table
from aef_worldmodel.viz.monitor import monitor_film
from aef_worldmodel.viz.video import write_mp4, write_png
from agents.base import AgentConfig
from agents.config import train as settings
from agents.config.hardware import HardwareConfig, describe
from agents.learning.build import playing_agent
from agents.learning.learner import Learner
from agents.playing.env_factory import make_envs
from agents.playing.evaluation import (
    Episodes,
    film_first_episode,
    report_open_loop,
    run_episodes,
    score,
)
from agents.playing.reference import fingerprint_of, redrawn
from agents.playing.watching import (
    ALARM_LEVEL,
    calibrated,
    check_watchable,
    watch,
)
from agents.registry import agent_name
from agents.training.provenance import provenance
from agents.training.runs import LoadedRun, load_run, pretrained_agents, pretrained_run
from agents.training.seeds import CALIBRATION, FINAL_EVALUATION
from envs.seeds import env_seeds

KEY = ("task", "run", "frames", "agent", "settings", "episodes", "seed")  # of a row of a table


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of `python -m agents.evaluate`."""

    run: str | None = None
    """Folder of the run whose last checkpoint plays."""
    pretrained: str | None = None
    """Name of a trained agent that this checkout holds, instead of `run`."""
    agent: AgentConfig | None = None
    """What plays: null for the run's own agent; mpc, random and scripted can play any run."""
    episodes: int = 10
    """Episodes, played as one batch."""
    seed: int = 0
    """Chooses the episodes; those of training and its evaluations are others."""
    out: str | None = None
    """Folder for returns.csv, film and strip; null for RUN/evaluation, or RUN/evaluation-AGENT;
    with `pretrained` the folder RUN is runs/pretrained/NAME."""
    monitor: bool = False
    """Film the first episode with how likely the model finds each frame, compared with the other
    episodes; the border is red at alarms. Writes monitor.mp4 and surprise.csv."""
    doubt: float | None = None
    """Act on surprise: where a frame's log-likelihood is below this quantile of those of as many
    other episodes, which are played first, the filter goes on with its own prediction instead of
    the frame. 0.001 doubts one usual frame in a thousand; null doubts none."""
    table: str | None = None
    """A CSV that gets one row with the mean return and its origin; null for none."""
    trust: bool = False
    """Execute the code that the run's saved settings name: a module that registers its environment
    and is not an installed package."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """The machine to play on."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, episodes=(1, 10_000), seed=(0, 2**32 - 1), doubt=(0, 0.5))


def main(argv: Sequence[str]) -> int:
    """Play, print the returns and write what was seen."""
    asked = settings.load(argv, EvaluateConfig, "evaluate")
    source, run = folders(asked)
    torch.set_num_threads(asked.hardware.threads or 1)
    seed = FINAL_EVALUATION.of(asked.seed)
    torch.manual_seed(seed)
    loaded = load_run(source, asked.hardware, asked.trust)
    learner, config = loaded.learner, loaded.config
    env = make_envs(config.env, asked.episodes, asked.hardware, seed)
    if env.single_action_space.shape != (learner.model.action_dim,):
        raise UserError(
            f"{source} learnt with {learner.model.action_dim} actions, but env.task="
            f"{config.env.task} of its config.yaml has {env.single_action_space.shape[0]}: put "
            "the task there that it was trained on"
        )
    policy = playing_agent(asked.agent, learner).policy(False, learner.model)
    if asked.monitor:
        check_watchable(learner, asked.episodes)
    own = f"evaluation-{agent_name(asked.agent)}" if asked.agent else "evaluation"
    out = Path(asked.out or run / own)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    table = Table(asked.table, KEY) if asked.table else None
    notes = redrawn(loaded.images, fingerprint_of(env), source)
    print(*notes, describe(asked.hardware), sep="\n")
    doubt = calibrated(learner, policy, env, CALIBRATION.of(asked.seed), asked.doubt)
    begin = time.monotonic()
    episodes = run_episodes(learner, policy, env, seed, observe=doubt and doubt.observe)
    seconds = time.monotonic() - begin
    report = report_open_loop(learner, episodes) if learner.sees_images else None
    names = ["returns.csv"]
    if learner.sees_images:
        write_mp4(out / "episode.mp4", film_first_episode(episodes))
        names.append("episode.mp4")
    if report:
        write_mp4(out / "dream.mp4", report.film)
        write_png(out / "dream.png", report.strip)
        names += ["dream.mp4", "dream.png"]
    if asked.monitor:
        names += write_monitor(out, learner, episodes)
    write_returns(out / "returns.csv", episodes.returns.tolist(), env_seeds(seed, asked.episodes))
    mean, std = score(episodes.returns)
    print(f"{config.env.task}: return {mean:.1f} +- {std:.1f} over {asked.episodes} episodes")
    if doubt:
        print(f"  {doubt.doubted} of {doubt.seen} frames were doubted")
    for name, value in report.scores.items() if report else ():
        print(f"  {name} {value:.1f} dB")
    print(f"written to {out}: {', '.join(names)}")
    if table is not None:
        pace = asked.episodes * episodes.frames.shape[1] / seconds
        results = {"return": mean, "std": std, "decisions_per_s": pace}
        add_row(table, asked, loaded, argv, results)
    return 0


def folders(asked: EvaluateConfig) -> tuple[Path, Path]:
    """Return the folder that is played, and the one that results go to.

    Raises ConfigError unless exactly one of `run` and `pretrained` is given, and UserError for an
    unknown name.
    """
    if (asked.run is None) == (asked.pretrained is None):
        raise ConfigError(
            "give either run=RUN_DIR, the folder of a trained run, or pretrained=NAME"
            + (f", one of {', '.join(found)}" if (found := pretrained_agents()) else "")
        )
    if asked.pretrained is None:
        return Path(str(asked.run)), Path(str(asked.run))
    return pretrained_run(asked.pretrained), Path("runs/pretrained") / asked.pretrained


def write_monitor(out: Path, learner: Learner, episodes: Episodes) -> list[str]:
    """Write what the monitor says of the first episode; return the names of the files."""
    rows, p_values = watch(learner, episodes)
    frames = episodes.frames[0, : len(rows)]
    write_mp4(out / "monitor.mp4", monitor_film(frames, p_values, ALARM_LEVEL))
    (out / "surprise.csv").unlink(missing_ok=True)
    Table(out / "surprise.csv").add(*rows)
    alarms = int((p_values["any"] <= ALARM_LEVEL).sum())
    print(f"  the monitor alarms at {alarms} of {len(rows)} frames (p <= {ALARM_LEVEL})")
    return ["monitor.mp4", "surprise.csv"]


def write_returns(path: Path, returns: list[float], seeds: list[int]) -> None:
    """Write a CSV with a row for each episode: its environment's seed, its return."""
    path.unlink(missing_ok=True)
    rows = (
        {"episode": i, "seed": seed, "return": f"{value:.2f}"}
        for i, (seed, value) in enumerate(zip(seeds, returns, strict=True))
    )
    Table(path).add(*rows)


def add_row(
    table: Table, asked: EvaluateConfig, loaded: LoadedRun, argv: Sequence[str], results: dict
) -> None:
    """Add what was measured to the table, once."""
    agent = asked.agent or loaded.config.agent
    usual = to_dict(type(agent)())
    changed = {k: v for k, v in to_dict(agent).items() if v != usual.get(k)}
    values = (
        loaded.config.env.task,
        folders(asked)[0].name,
        loaded.frames,
        agent_name(agent),
        " ".join(f"{k}={v}" for k, v in changed.items()),
        asked.episodes,
        asked.seed,
    )
    key: dict[str, object] = dict(zip(KEY, values, strict=True))
    if table.find(key) is None:
        table.add(key | results | provenance("agents.evaluate", argv, asked.hardware))


if __name__ == "__main__":
    run_command(main)
