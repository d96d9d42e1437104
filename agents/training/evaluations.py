"""Evaluations of a run that learns: their episodes, and what is logged of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from agents.playing.env_factory import make_envs
from agents.playing.evaluation import (
    Episodes,
    film_first_episode,
    held_out_log_prob,
    report_open_loop,
    run_episodes,
    score,
)
from agents.training.logging.run_logger import RunLogger
from agents.training.seeds import EVALUATION

if TYPE_CHECKING:
    from agents.training.trainer import Trainer


def evaluate(trainer: Trainer, logger: RunLogger) -> float:
    """Play the evaluation episodes; log returns, open-loop predictions and a film.

    Training's random numbers stay as they were. Raises EvaluationStopped where the run is asked to
    stop meanwhile.
    """
    config, learner = trainer.config, trainer.learner
    own = [learner.device] if learner.device.type == "cuda" else []
    count = config.eval.episodes
    with torch.random.fork_rng(own):
        if trainer.eval_env is None:
            trainer.eval_env = make_envs(config.env, count, config.hardware)
        place = trainer.evaluations * count
        seed = EVALUATION.envs(config.seed, place, count, trainer.seeds)
        policy = learner.agent.policy(False, learner.model)
        stop = lambda: trainer.stopping  # noqa: E731
        episodes = run_episodes(learner, policy, trainer.eval_env, seed, stop=stop)
        scores = show(trainer, episodes, logger) | held_out_log_prob(learner, episodes)
    trainer.evaluations += 1
    mean, std = score(episodes.returns)
    logger.scalars(trainer.counters() | {"eval/return": mean, "eval/std": std} | scores)
    return mean


def show(trainer: Trainer, episodes: Episodes, logger: RunLogger) -> dict[str, float]:
    """Log films and images of what the model saw and imagined; return its scores.

    States are not drawn.
    """
    if not trainer.learner.sees_images:
        return {}
    logger.video("episode", film_first_episode(episodes), trainer.frames)
    report = report_open_loop(trainer.learner, episodes)
    if report is None:
        logger.print("the episodes of this evaluation are too short for an open-loop film")
        return {}
    logger.video("dream", report.film, trainer.frames)
    logger.image("dream", report.strip, trainer.frames)
    return report.scores
