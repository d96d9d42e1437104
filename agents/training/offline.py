"""Learning from recorded episodes alone: `python -m agents.train data=FOLDER`."""

import json
from pathlib import Path

import torch
from torch import Tensor

from aef_worldmodel.data.episodes import count_rows, list_episodes, read_episode, read_info
from aef_worldmodel.data.replay import HELD_OUT, Replay
from aef_worldmodel.utils.config.schema import to_dict
from aef_worldmodel.utils.errors import UserError
from agents.config.legacy import update_env
from agents.config.train import TrainConfig
from agents.playing.reference import redrawn
from agents.training import held_out
from agents.training.logging.run_logger import RunLogger
from agents.training.snapshot import COUNTERS
from agents.training.trainer import Trainer

SINCE_0_2 = ("obs", "time_limit", "timeout")  # keys that older recordings lack


class OfflineTrainer(Trainer):
    """A run that takes its experience from `config.data` instead of acting.

    The episodes are read into the run's replay buffer once; from then on everything is as in a run
    that acts: evaluations in the real environments, checkpoints, resume. `frames` and `decisions`
    count what an acting run would have played for the same updates.

    Raises UserError if the data are of another task or of other frames, or too few.
    """

    counted = (*COUNTERS, "ingested")
    usual_recency = 1.0

    def __init__(self, config: TrainConfig, run: Path) -> None:
        check_same_task(config)
        self.episodes = list_episodes(str(config.data))
        if not self.episodes:
            raise UserError(
                f"data={config.data} holds no episodes: record some with agents.collect"
            )
        every, count = config.replay.held_out, len(self.episodes)
        if every and not held_out.is_held_out(torch.arange(count), every).any():
            raise UserError(
                f"replay.held_out={every} keeps none of the {count} episodes in data={config.data}:"
                f" give {2 * count - 1} or less, or leave it out"
            )
        super().__init__(config, run)
        self.notes += redrawn(
            read_info(str(config.data)).get("images"), self.fingerprint, config.data
        )
        self.ingested = 0  # episodes that are in the replay buffer

    def make_replay(self, shape: tuple[int, ...], actions: int) -> Replay:
        """Make room for all episodes: a ring for each environment, the files dealt out to them."""
        rows, rings = [count_rows(path) for path in self.episodes], self.env.num_envs
        fullest = max(sum(rows[ring::rings]) for ring in range(rings))
        capacity = min(self.config.replay.capacity, fullest * rings)
        return self.open_replay(shape, actions, capacity, slack=0)

    @property
    def learning(self) -> bool:
        """True from the beginning."""
        return True

    def train(self, logger: RunLogger) -> bool:
        """Read the data that are not in the replay buffer yet, then learn as `Trainer.train`."""
        while self.ingested < len(self.episodes) and not self.stopping:
            self._ingest()
            logger.print(f"read {self.ingested} of {len(self.episodes)} episodes")
        longest = int(self.replay.rows_per_env.max())
        length = self.config.replay.sequence_length
        if not self.replay.can_sample(length) and not self.stopping:
            raise UserError(
                f"data={self.config.data} has {longest} rows for an environment, fewer than a "
                f"sequence of replay.sequence_length={length}: record more episodes, or give a "
                "smaller length"
            )
        return super().train(logger)

    def act(self) -> None:
        """Count a decision in every environment; nothing is played."""
        self.decisions += self.env.num_envs
        self.count_frames(self.env.num_envs * self.config.env.action_repeat)

    def _ingest(self) -> None:
        """Copy the next episodes into the replay buffer, the i-th into ring i modulo the rings."""
        rings, begin = self.env.num_envs, self.ingested
        files = self.episodes[begin : (begin // rings + 1) * rings]
        batch = {(begin + i) % rings: read_episode(path) for i, path in enumerate(files)}
        every = self.config.replay.held_out
        for ring, rows in batch.items() if every else ():
            number = torch.tensor(begin + (ring - begin) % rings)
            kept = held_out.is_held_out(number, every or 1)
            rows[HELD_OUT] = kept.expand(len(rows["first"]))
        for t in range(max(len(rows["first"]) for rows in batch.values())):
            self._add(batch, [i for i, rows in batch.items() if t < len(rows["first"])], t)
        self.ingested += len(files)

    def _add(self, batch: dict[int, dict[str, Tensor]], rings: list[int], t: int) -> None:
        names = batch[rings[0]]
        rows = {name: torch.stack([batch[i][name][t] for i in rings]) for name in names}
        rows["recurrent"] = torch.zeros(len(rings), self.learner.model.state_dims[0])
        self.replay.add(rows, torch.tensor(rings))


def check_same_task(config: TrainConfig) -> None:
    """Raise UserError if the recorded episodes are of other environments than the run's."""
    found, asked = update_env(read_info(str(config.data))["env"]), to_dict(config.env)
    found = {key: asked[key] for key in SINCE_0_2 if key not in found} | found
    for env in (found, asked):
        for key in ("random_truncation_every", "timeout"):  # of environments that train; none do
            env.pop(key, None)
    if found.keys() != asked.keys():
        raise UserError(
            f"data={config.data} was recorded with {_words(found)} by a version with other "
            "settings: record it again with agents.collect"
        )
    if found != asked:
        raise UserError(
            f"data={config.data} was recorded with {_words(found)}; this run asks for "
            f"{_words(asked)}: give the settings it was recorded with"
        )


def _words(env: dict[str, object]) -> str:
    """Return settings of environments as the command line takes them."""
    values = {key: v if isinstance(v, str) else json.dumps(v) for key, v in env.items()}
    keys = {"task": "env"}
    return " ".join(
        f"{keys.get(key, f'env.{key}')}={value.replace(' ', '')}" for key, value in values.items()
    )
