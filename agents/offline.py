"""Learning from recorded episodes alone: `python -m agents.train data=FOLDER`."""

import json
from pathlib import Path

import torch
from torch import Tensor

from aef_worldmodel.episodes import count_rows, list_episodes, read_episode, read_info
from aef_worldmodel.errors import UserError
from aef_worldmodel.replay import Replay
from agents.config import TrainConfig
from agents.logbook import Logbook
from agents.schema import to_dict
from agents.trainer import COUNTERS, Trainer


class OfflineTrainer(Trainer):
    """A run that takes its experience from `config.data` instead of acting.

    The episodes are read into the run's replay once, one from each file at a time; from then on
    everything is as in a run that acts: evaluations in the real worlds, checkpoints, resume.
    `frames` and `decisions` count what an acting run would have played for the same updates.

    Raises UserError if the data are of another task or of other pictures, or too few.
    """

    counted = (*COUNTERS, "ingested")
    usual_recency = 1.0

    def __init__(self, config: TrainConfig, run: Path):
        found, asked = read_info(config.data)["env"], to_dict(config.env)
        for words in (found, asked):
            words.pop("restart_every", None)  # of training worlds, and none are played here
        if found.keys() != asked.keys():
            raise UserError(
                f"data={config.data} was recorded with {_words(found)} by a version that had other "
                "settings than this one: record it anew with agents.collect"
            )
        if found != asked:
            raise UserError(
                f"data={config.data} was recorded with {_words(found)}; this run asks for "
                f"{_words(asked)}: give the former"
            )
        self.episodes = list_episodes(config.data)
        if not self.episodes:
            raise UserError(f"data={config.data} holds no episodes: make some with agents.collect")
        super().__init__(config, run)
        self.ingested = 0  # episodes that are in the replay

    def _make_replay(self, shape: tuple[int, ...], actions: int) -> Replay:
        """Room for all episodes: as many rings as worlds, the files dealt out among them."""
        rows, worlds = [count_rows(path) for path in self.episodes], self.env.num_envs
        fullest = max(sum(rows[world::worlds]) for world in range(worlds))
        return Replay(
            self.run, self._fields(shape, actions), worlds,
            min(self.config.replay_rows, fullest * worlds), slack=0,
            storage=self.config.hardware.replay, mutable=("recurrent",),
        )  # fmt: skip

    @property
    def learning(self) -> bool:
        """From the beginning."""
        return True

    def train(self, book: Logbook) -> bool:
        """Reads the data that are not in the replay yet, then learns as Trainer.train."""
        while self.ingested < len(self.episodes) and not self.stopping:
            self._ingest()
            book.progress.say(f"read {self.ingested} of {len(self.episodes)} episodes")
        longest = int(self.replay.rows_per_world.max())
        if longest < self.config.length and not self.stopping:
            raise UserError(
                f"data={self.config.data} has {longest} rows for a world, fewer than a sequence of "
                f"length={self.config.length}: record more episodes, or give a smaller length"
            )
        return super().train(book)

    def act(self) -> None:
        """Counts a decision in every world; nothing is played."""
        self.decisions += self.env.num_envs
        self.unspent += self.env.num_envs * self.config.env.action_repeat

    def _ingest(self) -> None:
        """Copies the next episodes into the replay, the i-th into ring i modulo their number."""
        worlds, begin = self.env.num_envs, self.ingested
        files = self.episodes[begin : (begin // worlds + 1) * worlds]
        batch = {(begin + i) % worlds: read_episode(path) for i, path in enumerate(files)}
        for t in range(max(len(rows["first"]) for rows in batch.values())):
            self._add(batch, [i for i, rows in batch.items() if t < len(rows["first"])], t)
        self.ingested += len(files)

    def _add(self, batch: dict[int, dict[str, Tensor]], worlds: list[int], t: int) -> None:
        names = batch[worlds[0]]
        rows = {name: torch.stack([batch[i][name][t] for i in worlds]) for name in names}
        width = self.config.world_model.recurrent_dim
        self.replay.add(rows | {"recurrent": torch.zeros(len(worlds), width)}, torch.tensor(worlds))


def _words(env: dict[str, object]) -> str:
    """Settings of the worlds as the command line takes them."""
    told = {key: v if isinstance(v, str) else json.dumps(v) for key, v in env.items()}
    return " ".join(f"env.{key}={value.replace(' ', '')}" for key, value in told.items())
