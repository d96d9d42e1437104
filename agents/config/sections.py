"""The groups of a run's settings, one frozen dataclass each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aef_worldmodel.utils.config.schema import check_bounds, check_positive

LONGEST_REPEAT, LARGEST_IMAGE = 1_000, 1_024


@dataclass(frozen=True)
class EnvConfig:
    """The task and how it is seen."""

    task: str = "cheetah-run"
    """Task of `python -m envs`, gym:ID of a Gymnasium environment (options follow a question
    mark: gym:CarRacing-v3?crop=0,12,0,0 cuts 12 pixels off the bottom of its images),
    module:Class of a task of your own, or dm_control:TASK for dm_control's own simulator and
    OpenGL images."""
    action_repeat: int = 2
    """Frames (simulator control steps) of a decision."""
    image_size: int = 64
    """Height and width of an image, in pixels."""
    samples_per_pixel: int = 2
    """Rays per pixel of our own renderer: 1 leaves edges jagged, 2 smooths them nearly as well as
    dm_control's OpenGL, 4 better still in twice the time."""
    random_truncation_every: int | None = None
    """Mean number of frames after which a training episode is cut short at random, as by a time
    limit; null for whole episodes. Evaluations play whole episodes."""
    obs: Literal["pixels", "proprio"] = "pixels"
    """What is seen: pixels, or proprio, the state as numbers (give world_model=states with it);
    of a gym:ID environment all numbers of its observation."""
    time_limit: int | None = None
    """Frames after which an episode of a gym:ID environment is cut short, where the environment
    registers no limit of its own; null for 10,000."""
    timeout: float = 300.0
    """Seconds that a process of gym:ID or dm_control:TASK environments may take for a decision or
    a reset; a longer silence ends the run, which saves."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(
            self,
            action_repeat=(1, LONGEST_REPEAT),
            image_size=(1, LARGEST_IMAGE),
            samples_per_pixel=(1, 64),
            time_limit=(1, 10**9),
            timeout=(0.1, 1e6),
        )
        every = self.random_truncation_every
        if every is not None and every <= self.action_repeat:
            raise ValueError(
                f"random_truncation_every={every} must be above env.action_repeat="
                f"{self.action_repeat}, the frames of a decision"
            )


@dataclass(frozen=True)
class ObjectiveConfig:
    """Terms and stages of the world model's loss beyond the joint likelihood."""

    overshoot: int = 0
    """Decisions of an open-loop rollout that must predict the latents and rewards observed then
    (latent overshooting); 0 for none."""
    staged: bool = False
    """Train the autoencoder alone first, during `pretrain`, then the dynamics and heads on its
    frozen latents, as Ha & Schmidhuber 2018; false trains all of them jointly."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, overshoot=(0, 1_000))


@dataclass(frozen=True)
class RateConfig:
    """Learning rates of Adam."""

    model: float = 8e-4
    """Of the world model."""
    actor: float = 3e-4
    """Of the actor, or of all networks of an agent with one optimiser."""
    critic: float = 8e-4
    """Of the critic."""

    def __post_init__(self) -> None:
        """Raise ValueError for a rate that makes no sense."""
        check_positive(self, "model", "actor", "critic")
        check_bounds(self, model=(0, 1), actor=(0, 1), critic=(0, 1))


@dataclass(frozen=True)
class EmaConfig:
    """Share of a network's weights that its moving average takes over at each update, 0 to 1."""

    model: float = 0.03
    """Of the averaged world model, in which the agent acts and imagines; 1 for no averaging."""
    actor: float = 0.02
    """Of the averaged actor, which plays evaluations."""
    critic: float = 0.04
    """Of the target critic."""

    def __post_init__(self) -> None:
        """Raise ValueError for a share that makes no sense."""
        check_positive(self, "model")
        check_bounds(self, model=(0, 1), actor=(0, 1), critic=(0, 1))


@dataclass(frozen=True)
class ReplayConfig:
    """The replay buffer and the batches drawn from it."""

    capacity: int = 500_000
    """Rows (decisions) that are sampled from, over all environments."""
    recency: float | None = None
    """Exponent of recency-biased sampling: half of each batch starts in the newest 2^-recency of
    the replay, 1 is uniform; null for 3, or for 1 with `data`."""
    batch_size: int = 12
    """Sequences of a batch, B."""
    sequence_length: int = 16
    """Rows of a sequence, T."""
    held_out: int | None = None
    """Keep one episode in so many out of what is learnt from; metrics.csv then has the world
    model's terms on these rows as `held_out/...` beside `train/...`. null for none."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(
            self,
            capacity=(1, 10**10),
            recency=(1, 1_000),
            batch_size=(1, 65_536),
            sequence_length=(2, 65_536),
            held_out=(2, 1_000_000),
        )


@dataclass(frozen=True)
class EvalConfig:
    """Evaluations during training."""

    every: int = 10_000
    """Frames between evaluations."""
    episodes: int = 10
    """Episodes of an evaluation, played as one batch."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, every=(1, None), episodes=(1, 65_536))
