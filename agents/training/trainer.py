"""The training loop: act, store, learn, evaluate, save; and everything `resume` needs.

A *frame* is one simulator control step, a *decision* one agent step (`action_repeat` frames), an
*update* one gradient step. Frames and decisions are summed over the environments.
"""

import contextlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aef_worldmodel.backbone import AEFBackbone
from aef_worldmodel.data.batch import FUTURE_FIELDS, Batch, FutureRows
from aef_worldmodel.data.replay import HELD_OUT, Replay
from aef_worldmodel.utils.checkpoint import Checkpoint
from aef_worldmodel.utils.command import as_typed
from aef_worldmodel.utils.errors import UserError
from agents.algorithms.fixed import CorrelatedNoise
from agents.config.train import TrainConfig
from agents.config.trust import trust_word
from agents.learning.build import compiles, make_learner
from agents.learning.learner import Learner
from agents.optimisation import NonFinite
from agents.playing.env_factory import is_discrete, make_training_envs
from agents.playing.evaluation import EvaluationStopped
from agents.playing.reference import fingerprint_of, redrawn
from agents.playing.rollout import EnvLoop, Transition
from agents.training import evaluations, held_out, snapshot
from agents.training.arrivals import Arrivals
from agents.training.logging.run_logger import RunLogger
from agents.training.overflow import OverflowNotice
from agents.training.runs import autoencoder_of, way_back
from agents.training.seeds import HASHED, TRAINING
from envs import EnvironmentFailure

LOG_EVERY = 100  # updates between rows of metrics.csv
COMPILING = (
    "the first updates are compiled: minutes of silence in the first run on a machine, less later; "
    "hardware.compile=false does without"
)
LATEST = ("log_prob", "reward_loss", "imagined_return", "entropy")  # losses on the screen


class Trainer:
    """One run: environments, replay buffer, learner, and where each of them stands.

    Args:
        config: the run's settings.
        run: its folder.

    Raises:
        UserError: the run would never learn, or its environments, networks or replay buffer
            cannot be made.
    """

    counted = snapshot.COUNTERS
    usual_recency = 3.0  # where the settings leave it open

    def __init__(self, config: TrainConfig, run: Path) -> None:
        self.config, self.run = config, run
        config.check_learns()
        torch.manual_seed(config.seed)
        self.env = make_training_envs(
            config.env, config.hardware.num_envs, config.hardware, TRAINING.of(config.seed)
        )
        self.seeds = HASHED  # an old run keeps its own kind
        self.fingerprint = fingerprint_of(self.env)
        self.notes: list[str] = []  # sentences for the person who started the run
        self.eval_env: Any = None  # made at the first evaluation
        shape = self.env.single_observation_space.shape
        actions = self.env.single_action_space.shape[0]
        self.discrete = is_discrete(self.env)
        self.learner = self.make_learner(shape, actions)
        if config.init_autoencoder_from and not config.resume:
            key = f"init_autoencoder_from={config.init_autoencoder_from}"
            source, autoencoder = autoencoder_of(Path(config.init_autoencoder_from))
            self.learner.load_autoencoder(autoencoder, key)
            self.notes += redrawn(source.meta.get("images"), self.fingerprint, source.path)
        if config.encoder and not config.resume:
            backbone = AEFBackbone.from_pretrained(config.encoder)
            weights = backbone.autoencoder.state_dict()
            self.learner.load_autoencoder(weights, f"encoder={config.encoder}")
        self.policy = self.learner.agent.policy(True, self.learner.model)
        self.loop = EnvLoop(self.env, self.learner, CorrelatedNoise(actions, self.discrete))
        self.arrivals = Arrivals(self.learner) if config.monitor else None
        self.loop.observe = self.arrivals and self.arrivals.observe
        self.loop.reset()
        self.replay = self.make_replay(shape, actions)
        self.returns = torch.zeros_like(self.loop.reward)  # of the running episodes
        self.last_return = float("nan")  # mean of the episodes that ended last
        self.decisions = self.updates = self.evaluations = 0
        self.episodes_begun = 0  # of which some are held out
        self.frames = 0  # simulator control steps, over all environments
        self.unspent = 0.0  # frames that have not earned an update yet
        self.due = False  # an evaluation that a stop has put off
        self.centred = False  # preprocessing has its centre
        self.overflow = OverflowNotice(self.learner)
        self.stopping = False  # set it to end after the current step, with a checkpoint

    def make_learner(self, shape: tuple[int, ...], actions: int) -> Learner:
        """Make what learns from frames (C, H, W) and A actions."""
        c, compiled = self.config, compiles(self.config)
        if compiled:
            self.notes.append(COMPILING)
        return make_learner(c, shape, actions, self.discrete, compiled=compiled)

    def make_replay(self, shape: tuple[int, ...], actions: int) -> Replay:
        """Make the replay buffer: room for all rows of the run, within `replay.capacity`."""
        c, count = self.config, self.env.num_envs
        repeat, whole = c.env.action_repeat, self.env.episode_decisions
        rows = c.frames // repeat
        cut = c.env.random_truncation_every
        episode = whole if cut is None else min(whole * repeat, cut) // repeat
        rows += count * (2 + rows // count // max(1, episode))  # each episode's last frame
        slack = 2 * min(c.checkpoint_every, c.frames) // (repeat * count) + 2
        return self.open_replay(shape, actions, min(c.replay.capacity, rows), slack)

    def open_replay(
        self, shape: tuple[int, ...], actions: int, capacity: int, slack: int
    ) -> Replay:
        """Open a replay buffer with a ring for each environment."""
        fields = {
            "frame": (shape, self.loop.frame.dtype),
            "action": ((actions,), torch.float32),
            "reward": ((), torch.float32),
            "first": ((), torch.bool),
            "terminal": ((), torch.bool),
            "recurrent": ((self.learner.model.state_dims[0],), torch.float16),
        }
        if self.config.replay.held_out:
            fields[HELD_OUT] = ((), torch.bool)
        return Replay(
            self.run,
            fields,
            self.env.num_envs,
            capacity,
            slack=slack,
            storage="cuda" if self.learner.device.type == "cuda" else "disk",
            mutable=("recurrent",),
            about=self.fingerprint,
        )

    # -- counters ------------------------------------------------------------------------

    @property
    def learning(self) -> bool:
        """Whether the random decisions of the beginning are over."""
        return self.frames >= self.config.frames_before_learning

    def counters(self) -> dict[str, int]:
        """Return frames, decisions and updates."""
        return {"frames": self.frames, "decisions": self.decisions, "updates": self.updates}

    # -- acting --------------------------------------------------------------------------

    def act(self) -> None:
        """Make one decision in every environment and store its rows."""
        if self.learning:
            self.loop.policy = self.policy
        made = self.loop.step()
        self.store(made)
        self.decisions += self.env.num_envs
        self.returns += made.next_reward
        last = lambda: self.loop.last_state(made)  # noqa: E731
        self.loop.policy.outcome(made.next_reward, made.terminated, made.truncated, last)
        if made.final_frame is not None:
            self.end_episodes(made)
        full = self.env.num_envs * self.config.env.action_repeat
        self.count_frames(full if made.steps is None else int(made.steps.sum()))

    def count_frames(self, frames: int) -> None:
        """Count the frames of a decision; they earn updates."""
        self.frames += frames
        self.unspent += frames

    def store(self, made: Transition) -> None:
        """Add the rows of a decision to the replay buffer."""
        self.replay.add(
            {
                "frame": made.frame,
                "action": made.action,
                "reward": made.reward,
                "first": made.first,
                "terminal": torch.zeros_like(made.first),
                "recurrent": made.state.recurrent,
                **held_out.flags(self, made.first),
            }
        )

    def end_episodes(self, made: Transition) -> None:
        """Store the last frames of episodes that ended, as rows of their own."""
        done = made.done
        rows = {
            "frame": made.final_frame,
            "action": torch.zeros_like(made.action),
            "reward": made.next_reward,
            "first": torch.zeros_like(done),
            "terminal": made.terminated,
            "recurrent": self.loop.last_recurrent(made),
            **held_out.flags(self, torch.zeros_like(done)),
        }
        ended = done.nonzero()[:, 0]
        self.replay.add({name: value[ended] for name, value in rows.items()}, ended)
        self.last_return = self.returns[done].mean().item()
        self.returns = self.returns.masked_fill(done, 0)

    # -- learning ------------------------------------------------------------------------

    @property
    def recency(self) -> float:
        """How much newer rows are preferred."""
        return self.config.replay.recency or self.usual_recency

    def learn(self, act: bool = True) -> dict[str, Tensor]:
        """Take one update; return its terms."""
        c = self.config.replay
        rows = self.replay.sample(c.batch_size, c.sequence_length, recency=self.recency)
        index, count = rows.pop("index"), self.learner.agent.future_rows
        future = None
        if count:
            later = self.replay.future_rows(index[:, 0], count, FUTURE_FIELDS)
            future = FutureRows(**later)
        batch = Batch.from_rows(rows, future).to(self.learner.device)
        recurrent, terms = self.learner.update(batch, act)
        self.replay.write("recurrent", index, recurrent)
        self.updates += 1
        return terms

    def fit_preprocessing(self) -> None:
        """Take the mean of the first frames as the centre of preprocessing.

        An autoencoder of another run keeps its own.
        """
        if not (self.config.init_autoencoder_from or self.config.encoder):
            self.learner.set_mean(self.replay.sample(512, 1)["frame"][:, 0])

    # -- evaluating ----------------------------------------------------------------------

    def evaluate(self, logger: RunLogger) -> float:
        """Play the evaluation episodes and log them; see `evaluations.evaluate`."""
        return evaluations.evaluate(self, logger)

    def _evaluate_if_due(self, logger: RunLogger) -> None:
        """Evaluate; a run that is asked to stop does it when it is resumed."""
        if self.due:
            with contextlib.suppress(EvaluationStopped):
                logger.tick(**self.counters(), eval_return=self.evaluate(logger))
                self.due = False

    # -- the run -------------------------------------------------------------------------

    def train(self, logger: RunLogger) -> bool:
        """Run to the end of `config.frames`, or until `stopping`; save either way.

        Returns whether the end was reached. Raises NonFinite naming the offending term, or
        UserError naming the environment that failed, after saving what came before.
        """
        task = self.config.env.task
        try:
            while self.unfinished and not self.stopping:
                self.iterate(logger)
        except NonFinite as error:
            how = ", for instance with a lower lr.model"
            raise NonFinite(f"{error}; {way_back(self.run, task, how)}") from error
        except EnvironmentFailure as error:
            saved = self.save(logger)
            again = as_typed("agents.train", f"resume={self.run}") + trust_word(task)
            raise UserError(
                f"{str(error).rstrip('.')}; all before is in {saved}: once the environment is "
                f"mended, continue with {again}"
            ) from error
        self.overflow.tell(logger.print)
        self.save(logger)
        return not self.unfinished

    @property
    def unfinished(self) -> bool:
        """Whether frames or an evaluation are left."""
        return self.due or self.frames < self.config.frames

    def iterate(self, logger: RunLogger) -> None:
        """Take the updates earned so far, one decision in every environment, and what is due."""
        if self.due:
            self._evaluate_if_due(logger)
            return
        if self.learning:
            self._update_as_earned(logger)
        if self.stopping:  # a resumed run begins with the updates that are left
            return
        before = self.frames
        self.act()
        logger.tick(**self.counters(), train_return=self.last_return)
        self.due = self._passed(before, self.config.eval.every) and self._has_learnt(logger)
        self._evaluate_if_due(logger)
        if self._passed(before, self.config.checkpoint_every):
            self.save(logger)

    def _has_learnt(self, logger: RunLogger) -> bool:
        """Return whether there is something to evaluate; say if there is not."""
        if self.updates > self.config.pretrain:
            return True
        logger.print(
            f"no evaluation at {self.frames:,} frames: the agent begins to learn after "
            f"{self.config.frames_before_learning:,} frames and {self.config.pretrain} updates of "
            "the world model"
        )
        return False

    def _update_as_earned(self, logger: RunLogger) -> None:
        if not self.centred:  # once, also where a stop comes before the first update
            self.unspent, self.centred = 0.0, True
            self.fit_preprocessing()
            logger.print(f"the world model learns alone for {self.config.pretrain} updates")
        while self.updates < self.config.pretrain and not self.stopping:
            self._log(logger, self.learn(act=False))
        while self.unspent >= self.config.frames_per_update and not self.stopping:
            self.unspent -= self.config.frames_per_update
            self._log(logger, self.learn())

    def _log(self, logger: RunLogger, terms: dict[str, Tensor]) -> None:
        """Show the counters; every `LOG_EVERY` updates also log the terms."""
        logger.tick(**self.counters())
        if self.updates % LOG_EVERY:
            return
        numbers = {name: value.item() for name, value in terms.items()}
        shown = {name: numbers[name] for name in LATEST if name in numbers}
        logger.tick(**self.counters(), **shown)
        self.overflow.tell(logger.print)
        row = {f"train/{name}": value for name, value in numbers.items()}
        row |= held_out.terms(self) | (self.arrivals.take() if self.arrivals else {})
        logger.scalars(self.counters() | {"train/return": self.last_return} | row)

    def _passed(self, before: int, every: int) -> bool:
        """Whether a decision that began at `before` frames crossed a multiple of `every`."""
        return self.frames // every > before // every

    # -- persistence ---------------------------------------------------------------------

    def save(self, logger: RunLogger) -> Path:
        """Write a checkpoint from which `restore` continues exactly."""
        return snapshot.save(self, logger.elapsed / 60)

    def restore(self) -> Checkpoint:
        """Go to the last good checkpoint and return it; `skipped` there names damaged ones.

        Raises UserError for a missing or damaged one, or one of another architecture.
        """
        return snapshot.restore(self)
