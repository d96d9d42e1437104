"""The loop: act in the worlds, remember, learn, evaluate, save. Everything `resume` needs.

Counting: a *frame* is one simulator control step, a *decision* one agent step (`action_repeat`
frames), an *update* one gradient step. Frames and decisions are summed over the worlds.
"""

from pathlib import Path

import torch
from torch import Tensor

from aef_worldmodel.errors import UserError
from aef_worldmodel.persistence import (
    Checkpoint,
    list_checkpoints,
    load_latest,
    save_checkpoint,
)
from aef_worldmodel.replay import Replay
from agents.config import TrainConfig
from agents.evaluation import Episodes, report_dream, run_episodes, score
from agents.imagination import AFTER
from agents.learner import NonFinite
from agents.logbook import Logbook
from agents.policy import choose
from agents.roster import make_learner, make_policy
from agents.worlds import has_choices, make_training_worlds, make_worlds, state_of
from envs import WorldError

EVAL_SEED = 1_000_000  # evaluation worlds start where training worlds never do
LOG_EVERY = 100  # updates between rows of metrics.csv
COUNTERS = ("decisions", "updates", "unspent", "evaluations", "last_return")


class Trainer:
    """One run: worlds, replay, learner, and where each of them stands.

    Args:
        config: the run's settings.
        run: its folder.

    Raises:
        UserError: it would never learn, its worlds or networks cannot be made, or its replay
            cannot be kept.
    """

    counted = COUNTERS
    usual_recency = 3.0  # where the settings leave it open

    def __init__(self, config: TrainConfig, run: Path):
        self.config, self.run = config, run
        config.check_learns()
        torch.manual_seed(config.seed)
        self.env = self.make_worlds(config.hardware.num_envs, config.seed, training=True)
        self.eval_env = None  # made at the first evaluation
        count, device = self.env.num_envs, torch.device(config.hardware.device)
        shape = self.env.single_observation_space.shape
        actions = self.env.single_action_space.shape[0]
        self.discrete = has_choices(self.env)
        self.learner = self.make_learner(shape, actions)
        if config.eye and not config.resume:
            self.learner.take_eye(Path(config.eye))
        self.policy = make_policy(config.agent, self.learner, True, self.discrete)
        self.frame, _ = self.env.reset()
        self.replay = self._make_replay(shape, actions)
        self.state = self.learner.model.initial(count)
        self.action = torch.zeros(count, actions, device=device)
        self.reward = torch.zeros(count, device=device)
        self.first = torch.ones(count, dtype=torch.bool, device=device)
        self.returns = torch.zeros(count, device=device)  # of the running episodes
        self.last_return = float("nan")  # mean of the episodes that ended last
        self.decisions = self.updates = self.evaluations = 0
        self.unspent = 0.0  # frames that have not earned an update yet
        self.stopping = False  # set it to end after the current step, with a checkpoint

    # -- what it is made of --------------------------------------------------------------

    def make_worlds(self, count: int, seed: int, training: bool):
        """Worlds to learn in, or to be judged in."""
        make = make_training_worlds if training else make_worlds
        return make(self.config.env, count, self.config.hardware, seed)

    def make_learner(self, shape: tuple[int, ...], actions: int):
        """What learns from frames of that shape and so many actions."""
        return make_learner(self.config, shape, actions, self.discrete)

    def _fields(self, shape: tuple[int, ...], actions: int) -> dict:
        """What a row of the replay holds."""
        return {
            "frame": (shape, self.frame.dtype),
            "action": ((actions,), torch.float32),
            "reward": ((), torch.float32),
            "first": ((), torch.bool),
            "terminal": ((), torch.bool),
            "recurrent": ((self.config.world_model.recurrent_dim,), torch.float16),
        }

    def _make_replay(self, shape: tuple[int, ...], actions: int) -> Replay:
        c, count = self.config, self.env.num_envs
        rows = c.frames // c.env.action_repeat
        whole = self.env.episode_decisions * c.env.action_repeat
        length = min(whole, c.env.restart_every or whole) // c.env.action_repeat
        rows += count * (2 + rows // count // max(1, length))  # each episode's last
        between = 2 * min(c.checkpoint_every, c.frames) // (c.env.action_repeat * count) + 2
        return Replay(
            self.run, self._fields(shape, actions), count, min(c.replay_rows, rows), slack=between,
            storage=c.hardware.replay, mutable=("recurrent",),
        )  # fmt: skip

    # -- counters ------------------------------------------------------------------------

    @property
    def frames(self) -> int:
        """Simulator control steps so far, over all worlds."""
        return self.decisions * self.config.env.action_repeat

    @property
    def learning(self) -> bool:
        """Whether the random decisions of the beginning are over: `prefill` frames, and in every
        world at least the rows of a sequence."""
        return self.frames >= self.config.frames_before_learning

    # -- acting --------------------------------------------------------------------------

    @torch.no_grad()
    def decide(self) -> Tensor:
        """Filters the current frame and draws an action (N, A); correlated noise at first."""
        with self.learner.autocast():
            model = self.learner.model
            self.state = model.observe(self.state, self.action, self.frame, self.first)
            if self.learning:
                return self.policy.act(self.state, self.first)
        kept = self.action * ~self.first[:, None]
        return choose(0.7 * kept + 0.7 * torch.randn_like(kept), self.discrete)

    def act(self) -> None:
        """One decision in every world, and its rows in the replay."""
        action = self.decide()
        self._remember(self.frame, action, self.state.recurrent, torch.zeros_like(self.first))
        frame, reward, terminated, truncated, info = self.env.step(action)
        self.decisions += self.env.num_envs
        self.returns += reward
        self.policy.outcome(reward, terminated, truncated)
        done = terminated | truncated
        self.frame, self.action, self.reward, self.first = frame, action, reward, done
        if done.any():
            self._end(done, terminated, info["final_obs"])
        self.unspent += self.env.num_envs * self.config.env.action_repeat

    @torch.no_grad()
    def _end(self, done: Tensor, terminated: Tensor, final: Tensor) -> None:
        """Stores the last frames of the episodes that ended, as rows of their own."""
        with self.learner.autocast():
            recurrent = self.learner.model.step(self.state, self.action)
        self.first = torch.zeros_like(done)
        self._remember(final, torch.zeros_like(self.action), recurrent, terminated, done)
        self.last_return = self.returns[done].mean().item()
        self.reward = self.reward.masked_fill(done, 0)
        self.returns = self.returns.masked_fill(done, 0)
        self.first = done

    def _remember(self, frame: Tensor, action: Tensor, recurrent: Tensor, terminal: Tensor,
                  worlds: Tensor | None = None) -> None:
        rows = {
            "frame": frame, "action": action, "reward": self.reward, "first": self.first,
            "terminal": terminal, "recurrent": recurrent,
        }  # fmt: skip
        if worlds is not None:
            worlds = worlds.nonzero()[:, 0]
            rows = {name: value[worlds] for name, value in rows.items()}
        self.replay.add(rows, worlds)

    # -- learning ------------------------------------------------------------------------

    def learn(self, act: bool = True) -> dict[str, Tensor]:
        """One update; returns its terms."""
        c = self.config
        batch = self.replay.sample(c.batch, c.length, recency=c.recency or self.usual_recency)
        index = batch.pop("index")
        after = self.replay.following(index[:, 0], self.learner.rows_after, AFTER)
        batch |= {f"{name}_after": value for name, value in after.items()}
        batch = {name: value.to(self.learner.device) for name, value in batch.items()}
        recurrent, terms = self.learner.update(batch, act)
        self.replay.write("recurrent", index, recurrent)
        self.updates += 1
        return terms

    def centre(self) -> None:
        """Takes the mean of the first frames as the centre of preprocessing; another run's eye
        has a centre of its own."""
        if not self.config.eye:
            self.learner.centre(self.replay.sample(512, 1)["frame"][:, 0])

    # -- evaluating ----------------------------------------------------------------------

    def evaluate(self, book: Logbook) -> float:
        """Plays the evaluation episodes; records returns, dream and film. Leaves training's
        random numbers as they were."""
        own = [self.learner.device] if self.learner.device.type == "cuda" else []
        with torch.random.fork_rng(own):
            if self.eval_env is None:
                count = self.config.eval_episodes
                self.eval_env = self.make_worlds(count, EVAL_SEED, training=False)
            seed = EVAL_SEED + self.evaluations * self.config.eval_episodes
            policy = make_policy(self.config.agent, self.learner, False, self.discrete)
            episodes = run_episodes(self.learner, policy, self.eval_env, seed)
            scores = self.show(episodes, book)
        self.evaluations += 1
        mean, std = score(episodes.returns)
        book.write(self.counters() | {"eval/return": mean, "eval/std": std} | scores)
        return mean

    def show(self, episodes: Episodes, book: Logbook) -> dict[str, float]:
        """Films and pictures of what the model saw and dreamt of; returns its scores."""
        report = report_dream(self.learner, episodes)
        if report is None:
            book.progress.say("the episodes of this evaluation are too short to film a dream")
            return {}
        book.film("dream", report.film, self.frames)
        book.picture("dream", report.strip, self.frames)
        return report.scores

    def counters(self) -> dict[str, int]:
        """frames, decisions, updates."""
        return {"frames": self.frames, "decisions": self.decisions, "updates": self.updates}

    # -- the run -------------------------------------------------------------------------

    def train(self, book: Logbook) -> bool:
        """Runs to the end of `config.frames`, or until `stopping`; saves either way.

        Returns whether the end was reached. Raises NonFinite naming the offending term, or
        UserError naming the world that failed, and how to go back to the last good checkpoint.
        """
        try:
            while self.frames < self.config.frames and not self.stopping:
                self._iterate(book)
        except NonFinite as error:
            how = ", for instance with a lower model_rate"
            raise NonFinite(f"{error}; {self._way_back(how)}") from error
        except WorldError as error:
            raise UserError(f"{error}; {self._way_back()}") from error
        self.save(book)
        return self.frames >= self.config.frames

    def _way_back(self, how: str = "") -> str:
        """What to do when there is no going on."""
        if saved := list_checkpoints(self.run / "checkpoints"):
            return (
                f"nothing after {saved[-1]} was kept: go on from it with python -m agents.train "
                f"resume={self.run}{how}"
            )
        return f"{self.run} has no checkpoint yet: begin anew{how}"

    def _iterate(self, book: Logbook) -> None:
        """The updates earned so far, one decision in every world, and what is due then."""
        if self.learning:
            self._update_as_earned(book)
        if self.stopping:  # a resumed run begins with the updates that are left
            return
        self.act()
        book.progress.update(**self.counters(), train_return=self.last_return)
        if self._passed(self.config.eval_every) and self.updates > self.config.pretrain:
            book.progress.update(**self.counters(), eval_return=self.evaluate(book))
        if self._passed(self.config.checkpoint_every):
            self.save(book)

    def _update_as_earned(self, book: Logbook) -> None:
        if not self.updates:
            self.unspent = 0.0
            self.centre()
            book.progress.say(f"learning the world model alone for {self.config.pretrain} updates")
        while self.updates < self.config.pretrain and not self.stopping:
            self._log(book, self.learn(act=False))
        while self.unspent >= self.config.frames_per_update and not self.stopping:
            self.unspent -= self.config.frames_per_update
            self._log(book, self.learn())

    def _log(self, book: Logbook, terms: dict[str, Tensor]) -> None:
        """Shows the counters; now and then also the terms, and writes them to metrics.csv."""
        if self.updates % LOG_EVERY:
            return book.progress.update(**self.counters())
        terms = {name: value.item() for name, value in terms.items()}
        losses = ("log_prob", "reward_loss", "imagined_return", "entropy")
        shown = {name: terms[name] for name in losses if name in terms}
        book.progress.update(**self.counters(), **shown)
        row = {f"train/{name}": value for name, value in terms.items()}
        book.write(self.counters() | {"train/return": self.last_return} | row)

    def _passed(self, every: int) -> bool:
        """Whether the last decision crossed a multiple of `every` frames."""
        step = self.env.num_envs * self.config.env.action_repeat
        return self.frames // every > (self.frames - step) // every

    # -- persistence ---------------------------------------------------------------------

    def save(self, book: Logbook) -> Path:
        """Writes a checkpoint that `restore` continues from exactly."""
        tensors = ("frame", "action", "reward", "first", "returns")
        state = {
            "learner": self.learner.state_dict(),
            "policy": self.policy.state_dict(),
            "replay": self.replay.state_dict(),
            "env": state_of(self.env),
            "filter": dict(self.state._asdict()),
            "now": {name: getattr(self, name) for name in tensors},
            "rng": rng_state(self.learner.device),
            "counters": {
                "minutes": book.progress.elapsed / 60,
                **{name: getattr(self, name) for name in self.counted},
            },
        }  # fmt: skip
        about = {"kind": "train", "discrete": self.discrete}
        return save_checkpoint(self.run / "checkpoints", self.frames, state, about)

    def restore(self) -> Checkpoint:
        """Goes to the last good checkpoint and returns it; `skipped` there tells of damaged ones.

        Raises UserError for a missing or damaged one, or one of another architecture.
        """
        found = load_latest(self.run / "checkpoints")
        state, device = found.state, self.learner.device
        self.learner.load_state_dict(state["learner"], found.path)
        played = {name: value.to(device) for name, value in state.get("policy", {}).items()}
        self.policy.load_state_dict(played)
        self.replay.load_state_dict(state["replay"])
        self.state = type(self.state)(**{k: v.to(device) for k, v in state["filter"].items()})
        for name, value in state["now"].items():
            setattr(self, name, value.to(device))
        if state["env"] is None:  # other people's worlds: their episodes are given up
            self.frame, _ = self.env.reset(seed=self.config.seed + 1_000 + found.step)
            self.first, self.returns = torch.ones_like(self.first), torch.zeros_like(self.returns)
        else:
            try:
                self.env.set_state(state["env"])
            except ValueError as error:
                raise UserError(f"the worlds of {found.path} do not fit: {error}") from error
        for name in self.counted:
            setattr(self, name, state["counters"][name])
        set_rng_state(state["rng"], device)
        return found


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """States of torch's generators: the CPU's, and the device's if that is another."""
    own = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state()} | own


def set_rng_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Restores what `rng_state` returned."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
