"""Rows of `envs.verify`: what was compared, the largest differences and the verdict."""

from dataclasses import replace

import mujoco

from envs.engines.base import Engine
from envs.suite import make_task
from envs.verification.comparison import Errors, compare_placed, compare_stepped, start_p_value

TOLERANCE = 1e-9  # of rewards, observations and positions on the C engine
WARP_TOLERANCE = 1e-4  # of rewards and positions on the warp engine, after one step
SIGNIFICANCE = 1e-3  # p-value below which episodes' starts are called different
HEADER = f"{'task':25s} compared states   reward   observed positions rewards       start p"


def rows_on_c_engine(name: str) -> list[dict]:
    """Return a task's rows on the C engine: stepped beside dm_control, and placed."""
    return [
        make_row(name, "stepped", compare_stepped(name), TOLERANCE, start_p_value(name)),
        make_row(name, "placed", compare_placed(name), TOLERANCE),
    ]


def rows_on_warp_engine(name: str, device: str) -> list[dict]:
    """Return a task's row on the warp engine: one step from each of dm_control's states.

    Observations are shown but not judged: forces in single precision differ by more.
    """
    from envs.engines.warp import WarpEngine  # slow to import

    task = make_task(name)
    if "warp" not in task.engines:
        return []

    def make_engine(model: mujoco.MjModel, num_envs: int) -> Engine:
        return WarpEngine(model, num_envs, device, task.needs_contacts, task.needs_rows)

    errors = compare_stepped(name, make_engine, num_envs=2, steps=15, resync=True)
    agrees = replace(errors, proprio=0.0).within(WARP_TOLERANCE)
    return [make_row(name, "one step", errors, WARP_TOLERANCE) | {"agrees": agrees}]


def make_row(
    name: str, compared: str, errors: Errors, tolerance: float, start_p: float | None = None
) -> dict:
    """Return a row: what was compared and how, the largest differences, and whether they pass."""
    return {
        "task": name,
        "compared": compared,
        "states": errors.states,
        "reward": errors.reward,
        "observation": errors.proprio,
        "positions": errors.trajectory,
        "lowest_reward": errors.reward_range[0],
        "highest_reward": errors.reward_range[1],
        "start_p": "" if start_p is None else start_p,
        "agrees": errors.within(tolerance) and (start_p is None or start_p > SIGNIFICANCE),
    }


def empty_row() -> dict:
    """Return a row for its columns."""
    return make_row("", "", Errors(0, 0.0, 0.0, 0.0, (0.0, 0.0)), TOLERANCE)


def format_row(row: dict) -> str:
    """Return a row as a line of text."""
    errors = "  ".join(f"{row[k]:.1e}" for k in ("reward", "observation", "positions"))
    p = f"{row['start_p']:.4f}" if row["start_p"] != "" else ""
    rewards = f"{row['lowest_reward']:.3f}-{row['highest_reward']:.3f}"
    verdict = "" if row["agrees"] else "   DIFFERS"
    return (
        f"{row['task']:25s} {row['compared']:9s} {row['states']:5d}   {errors}   {rewards}   "
        f"{p}{verdict}"
    )
