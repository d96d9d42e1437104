"""Proof against dm_control, task by task: `python -m envs.verify [task ...]`."""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import mujoco
import numpy as np
import torch
from scipy.stats import ks_2samp

from envs import measured, reference
from envs.checks import checked_device
from envs.engine import Engine
from envs.engine_cpu import CpuEngine
from envs.model import compile_model
from envs.suite import make_task, registry
from envs.suite.task import Draw, Task

TOLERANCE = 1e-9  # of rewards, observations and positions on the C engine
WARP_TOLERANCE = 1e-4  # of rewards and positions on the warp engine, after one step
LEVEL = 1e-3  # at which episodes' starts would be called different


@dataclass(frozen=True)
class Errors:
    """The largest differences from dm_control over some states of a task.

    Attributes:
        states: how many states were compared.
        reward, proprio: of the reward and of the observation vector at the same state.
        trajectory: of the positions after the same actions from the same start.
        reward_range: lowest and highest reward met, so that a comparison of zeros shows.
    """

    states: int
    reward: float
    proprio: float
    trajectory: float
    reward_range: tuple[float, float]

    def within(self, tolerance: float) -> bool:
        """Whether none is larger, or not a number."""
        return all(error <= tolerance for error in (self.reward, self.proprio, self.trajectory))


def scripted_actions(steps: int, worlds: int, actuators: int, seed: int) -> np.ndarray:
    """Actions in [-1, 1], (steps, worlds, actuators): random in the even worlds, waves in others.

    The waves reach what random actions seldom do: speed, height, the ends of the joints.
    """
    generator = np.random.default_rng(seed)
    actions = generator.uniform(-1, 1, (steps, worlds, actuators))
    phase = generator.uniform(0, 2 * np.pi, (worlds, actuators))
    period = generator.uniform(10, 60, (worlds, actuators))
    waves = np.sin(phase + 2 * np.pi * np.arange(steps)[:, None, None] / period)
    actions[:, 1::2] = np.clip(1.5 * waves, -1, 1)[:, 1::2]
    return actions


def scatter(sim: Engine, generator: torch.Generator) -> None:
    """Moves the worlds, which stand at starts of episodes, to states that reward all that can be.

    Every fourth world stays where it is. In the others hinges and limited joints go anywhere, in
    half of them nearly to zero (upright, for most models), and velocities are of the order of 0.1,
    1 or 10. Controls are anything.
    """
    model, worlds = sim.model, sim.num_worlds
    begun = [sim.qpos[::4].clone(), sim.qvel[::4].clone()]
    near = torch.where(torch.arange(worlds) % 4 < 3, 1.0, 0.05).double()  # (N,)
    for joint in range(model.njnt):
        limited, address = model.jnt_limited[joint], model.jnt_qposadr[joint]
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            continue
        low, high = model.jnt_range[joint] if limited else (-np.pi, np.pi)
        if not limited and model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE:
            low, high = -0.2, 0.2
        part = torch.rand(worlds, generator=generator, dtype=torch.double)
        sim.qpos[:, address] = near * (low + (high - low) * part)
    scale = 10.0 ** (torch.arange(worlds) % 3 - 1).double()[:, None]  # (N, 1)
    sim.qvel[:] = scale * torch.randn(sim.qvel.shape, generator=generator, dtype=torch.double)
    sim.qpos[::4], sim.qvel[::4] = begun
    sim.ctrl[:] = 2 * torch.rand(sim.ctrl.shape, generator=generator, dtype=torch.double) - 1


def bring_targets(sim: Engine) -> None:
    """Puts each mocap body "target_x", in every fifth world, where the body "x" is."""
    model = sim.model
    for body in (model.body(i) for i in range(model.nbody)):
        thing = body.name.removeprefix("target_")
        if body.mocapid[0] >= 0 and thing != body.name:
            sim.mocap_pos[::5, body.mocapid[0]] = sim.xpos[::5, sim.body(thing)]
            sim.mocap_quat[::5, body.mocapid[0]] = sim.xquat[::5, sim.body(thing)]
    sim.forward(torch.arange(sim.num_worlds))


def bring_balls(sim: Engine) -> None:
    """Puts a ball that moves freely, in every fifth world, on the middle of the floor."""
    joints = [sim.model.joint(i).name for i in range(sim.model.njnt)]
    if "ball_root" in joints:
        ball = sim.joint("ball_root")
        sim.qpos[::5, ball : ball + 2] = 0.0


def compare_placed(name: str, states: int = 1000) -> Errors:
    """Compares reward and observation at states scattered widely, without stepping."""
    task = make_task(name)
    sim = started(task, CpuEngine, states)
    scatter(sim, torch.Generator().manual_seed(0))
    bring_balls(sim)
    sim.forward(torch.arange(states))
    bring_targets(sim)
    proprio = flat(task.proprio(sim), states)
    env = reference.load(name, seed=0)
    env.reset()
    rewards, proprio_error = [], 0.0
    for world in range(states):
        reference.paste_state(sim, world, env.physics)
        rewards.append(env.task.get_reward(env.physics))
        difference = np.abs(reference.observation(env) - proprio[world]).max()
        proprio_error = float(np.maximum(proprio_error, difference))  # keeps NaN
    reward_error = float(np.abs(task.reward(sim).numpy() - rewards).max())
    return Errors(states, reward_error, proprio_error, 0.0, (min(rewards), max(rewards)))


def started(task: Task, engine, episodes: int) -> Engine:
    """Worlds at the start of as many episodes, with seeds 0, 1, ...

    Args:
        engine: what makes the worlds, called with the model and their number.
    """
    sim: Engine = engine(compile_model(task.spec()), episodes)
    seeds = torch.arange(episodes)
    worlds = seeds.to(sim.device)
    sim.reset(worlds)
    task.reset(sim, worlds, Draw(seeds, torch.zeros_like(seeds), sim.device, sim.dtype))
    return sim


def flat(proprio: dict[str, torch.Tensor], worlds: int) -> np.ndarray:
    """An observation's parts side by side, (N, P)."""
    parts = [part.reshape(worlds, -1) for part in proprio.values()]
    return torch.cat(parts, 1).cpu().numpy()


def compare(name: str, engine=CpuEngine, worlds: int = 5, steps: int = 200, resync=False) -> Errors:
    """Steps the engine and dm_control side by side with the same actions.

    Args:
        engine: what makes the worlds, called with the model and their number.
        steps: control steps, without action repeat.
        resync: copy dm_control's state into the engine before every step, which measures the
            error of one step instead of the trajectory's.
    """
    task = make_task(name)
    sim = started(task, engine, worlds)
    theirs = [reference.load(name, seed) for seed in range(worlds)]
    for env in theirs:
        env.reset()
    _copy_all(theirs, sim)
    low, high = sim.model.actuator_ctrlrange.T
    worst = {"reward": 0.0, "proprio": _proprio_error(task, sim, theirs), "trajectory": 0.0}
    rewards = []
    for action in scripted_actions(steps, worlds, sim.model.nu, seed=0):
        control = (low + high) / 2 + (high - low) / 2 * action
        if resync:
            _copy_all(theirs, sim)
        sim.ctrl.copy_(torch.as_tensor(control))
        sim.step(task.substeps(sim.model))
        rewards.append([env.step(c).reward for env, c in zip(theirs, control, strict=True)])
        positions = np.stack([env.physics.data.qpos for env in theirs])
        found = {
            "reward": np.abs(task.reward(sim).cpu().numpy() - rewards[-1]).max(),
            "proprio": _proprio_error(task, sim, theirs),
            "trajectory": np.abs(sim.qpos.cpu().numpy() - positions).max(),
        }
        worst = {k: float(np.maximum(worst[k], found[k])) for k in worst}  # keeps NaN
    return Errors(worlds * steps, **worst, reward_range=(np.min(rewards), np.max(rewards)))


def start_p_value(name: str, episodes: int = 200) -> float:
    """How well our starts of episodes agree with dm_control's: a p-value.

    The smallest of the two-sample Kolmogorov-Smirnov tests over the coordinates, times their
    number (Bonferroni), at most 1; 0 if a coordinate is constant in one and not the same in the
    other. dm_control's episodes come from its own seeds 0, 1, ...
    """
    sim = started(make_task(name), CpuEngine, episodes)
    parts = [sim.qpos, sim.qvel, sim.act]
    for i in range(sim.model.nmocap):
        parts += [sim.mocap_pos[:, i], sim.mocap_quat[:, i]]
    parts += [values.flatten(1) for values in sim.expanded.values()]
    ours = torch.cat(parts, 1).numpy()  # (episodes, S)
    env = reference.load(name, seed=0)
    theirs = []
    for seed in range(episodes):
        env.task.random.seed(seed)
        env.reset()
        theirs.append(reference.start_state(env.physics, sim))
    return _smallest_p_value(ours, np.stack(theirs))


def _smallest_p_value(ours: np.ndarray, theirs: np.ndarray) -> float:
    varies = np.maximum(ours.std(0), theirs.std(0)) > 1e-9
    if not np.allclose(ours[:, ~varies], theirs[:, ~varies], atol=1e-9):
        return 0.0
    p = [ks_2samp(a, b).pvalue for a, b in zip(ours.T[varies], theirs.T[varies], strict=True)]
    return min(1.0, min(p) * len(p))


def _copy_all(theirs: list, sim: Engine) -> None:
    for world, env in enumerate(theirs):
        reference.copy_state(env.physics, sim, world)
    sim.forward(torch.arange(len(theirs), device=sim.device))


def _proprio_error(task: Task, sim: Engine, theirs: list) -> float:
    ours = flat(task.proprio(sim), len(theirs))
    return float(np.abs(ours - np.stack([reference.observation(env) for env in theirs])).max())


def on_c_engine(name: str) -> list[dict]:
    """A task's rows on the C engine: stepped beside dm_control with its starts, and placed."""
    return [
        row(name, "stepped", compare(name), TOLERANCE, start_p_value(name)),
        row(name, "placed", compare_placed(name), TOLERANCE),
    ]


def on_warp_engine(name: str, device: str) -> list[dict]:
    """A task's row on the warp engine: one step from each of dm_control's states.

    Observations are not judged, only shown: forces in single precision differ by more.
    """
    from envs.engine_warp import WarpEngine  # takes a while to import: only when asked for

    task = make_task(name)
    if "warp" not in task.engines:
        return []

    def engine(model: mujoco.MjModel, worlds: int) -> Engine:
        return WarpEngine(model, worlds, device, task.needs_contacts, task.needs_rows)

    errors = compare(name, engine, worlds=2, steps=15, resync=True)
    judged = replace(errors, proprio=0.0)
    return [
        row(name, "one step", errors, WARP_TOLERANCE) | {"agrees": judged.within(WARP_TOLERANCE)}
    ]


def row(name: str, how: str, errors: Errors, tolerance: float, start_p: float | None = None):
    """A row of the table: what was compared how, the largest differences, and whether they pass."""
    return {
        "task": name,
        "compared": how,
        "states": errors.states,
        "reward": errors.reward,
        "observation": errors.proprio,
        "positions": errors.trajectory,
        "lowest_reward": errors.reward_range[0],
        "highest_reward": errors.reward_range[1],
        "start_p": "" if start_p is None else start_p,
        "agrees": errors.within(tolerance) and (start_p is None or start_p > LEVEL),
    }


def line(found: dict) -> str:
    """A row as it is printed."""
    errors = "  ".join(f"{found[k]:.1e}" for k in ("reward", "observation", "positions"))
    p = f"{found['start_p']:.4f}" if found["start_p"] != "" else ""
    rewards = f"{found['lowest_reward']:.3f}-{found['highest_reward']:.3f}"
    verdict = "" if found["agrees"] else "   DIFFERS"
    named = f"{found['task']:25s} {found['compared']:9s} {found['states']:5d}"
    return f"{named}   {errors}   {rewards}   {p}{verdict}"


def main(words: list[str]) -> int:
    """Prints the table; returns 1 if a task differs by more than allowed or starts elsewhere."""
    parser = argparse.ArgumentParser(prog="python -m envs.verify", description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="task", help="all if none is named")
    parser.add_argument("--engine", choices=("c", "warp"), default="c")
    parser.add_argument("--device", default="cpu", help="of the warp engine: cpu or cuda")
    parser.add_argument("--out", type=Path, help="CSV to keep the table in")
    options = parser.parse_args(words)
    checked_device(options.device)
    measured.check(options.out, row("", "", Errors(0, 0.0, 0.0, 0.0, (0.0, 0.0)), TOLERANCE))
    print(f"{'task':25s} compared states   reward   observed positions rewards       start p")
    rows = []
    for name in options.tasks or registry():
        if options.engine == "c":
            new = on_c_engine(name)
        else:
            new = on_warp_engine(name, options.device)
            if not new:
                print(f"{name:25s} is not carried by the warp engine")
        print(*map(line, new), sep="\n", flush=True)
        rows += new
    if options.out:
        command = " ".join(["python -m envs.verify", *options.tasks])
        if options.engine == "warp":
            command += f" --engine warp --device {options.device}"
        measured.write(options.out, rows, command, options.device)
    return int(not all(found["agrees"] for found in rows))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ValueError as error:
        sys.exit(str(error))
