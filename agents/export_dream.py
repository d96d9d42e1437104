"""`python -m agents.export_dream run=RUN out=FOLDER`: a page in which one plays in the world model.

The folder is a static web page: the world model and the actor as ONNX graphs, frames to begin with,
and the runtime that computes them in the browser. Any file server shows it. The weights are rounded
to float16, which halves the files.
"""

import json
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import ConfigError
from aef_worldmodel.utils.errors import UserError, writing
from aef_worldmodel.viz.video import write_png
from agents.algorithms.imagination.agent import ActorCriticAgent
from agents.config import train as settings
from agents.config.hardware import HardwareConfig, resolve
from agents.playable.graphs import Actor, Step, to_onnx
from agents.playable.starts import (
    LENGTH,
    SEQUENCES,
    Start,
    choose_starts,
    filtered,
    usual_range,
    usual_surprise,
)
from agents.playable.storage import halve, round_weights, write_compressed
from agents.registry import agent_name
from agents.training.recording import Recording
from agents.training.runs import WEIGHTS, LoadedRun, load_run, model_name

PAGE = Path(__file__).parent / "playable" / "page"


@dataclass(frozen=True)
class ExportDreamConfig:
    """Settings of `python -m agents.export_dream`."""

    run: str | None = None
    """Folder of the run whose last checkpoint dreams, from frames that it has recorded."""
    out: str | None = None
    """Folder of the page to write; null for RUN-dream, beside the run."""
    seed: int = 0
    """Chooses the frames to begin with."""


def main(argv: Sequence[str]) -> int:
    """Write the page and print how to look at it."""
    asked = settings.load(argv, ExportDreamConfig, "export_dream")
    if asked.run is None:
        raise ConfigError("run is not set: give run=RUN_DIR, the folder of a trained run")
    out = Path(asked.out or f"{asked.run.rstrip('/')}-dream")
    export_dream(Path(asked.run), out, asked.seed)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    print(f"{out}: {size:.1f} MB; look at it on http://localhost:8000 with {serving(out)}")
    return 0


def serving(out: Path) -> str:
    """Return the command that serves a folder to this machine, as a shell takes it."""
    return shlex.join(
        ["python", "-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", str(out)]
    )


def export_dream(run: Path, out: Path, seed: int = 0) -> None:
    """Write the page of a run into a new folder.

    Raises:
        UserError: `run` cannot be loaded or has no dream to play, or `out` exists or cannot be
            written.
    """
    if out.exists():
        raise UserError(f"out={out} exists already: give another folder, or delete it")
    loaded = load_run(run, resolve(HardwareConfig(device="cpu", threads=1)), trust=True)
    check_playable(run, loaded)
    step, actor = Step(loaded.learner.model), Actor(actor_of(loaded))
    for module in (step, actor):
        round_weights(module.eval())
    generator = torch.Generator().manual_seed(seed)
    rows = Recording(run).sample(SEQUENCES, LENGTH, generator)
    states, usual = filtered(step.model, rows), None
    if step.exact:
        usual = usual_range(usual_surprise(step, rows, states, generator), rows["first"])
    graphs = {"step": step_graph(step), "actor": actor_graph(step, actor)}
    starts = choose_starts(rows, states)
    with writing(out):
        out.mkdir(parents=True)
    try:
        with writing(out):
            shutil.copytree(PAGE, out, dirs_exist_ok=True)
        for name, graph in graphs.items():
            halve(graph)
            write_compressed(out / "dream" / f"{name}.onnx.gz", graph.SerializeToString())
        write_png(out / "dream" / "starts.png", torch.cat([one.frame for one in starts], 1))
        about = describe(run, loaded, step, usual, starts)
        with writing(out):
            (out / "dream" / "about.json").write_text(json.dumps(about), encoding="utf-8")
    except BaseException:
        shutil.rmtree(out)
        raise


def check_playable(run: Path, loaded: LoadedRun) -> None:
    """Raise UserError for a run that has no dream to show or nothing to begin one with."""
    if not loaded.learner.sees_images:
        raise UserError(
            f"run={run} sees states, not images, so its dream has no frames to show: give a run "
            "with env.obs=pixels"
        )
    if (run / WEIGHTS).is_file():
        raise UserError(
            f"run={run} holds weights alone, and a dream begins with recorded frames: give the "
            "folder of the run itself"
        )
    actor_of(loaded)


def actor_of(loaded: LoadedRun) -> Any:
    """Return the averaged actor of a run. Raises UserError where the agent has none."""
    agent = loaded.learner.agent
    if not isinstance(agent, ActorCriticAgent) or not getattr(agent, "learns", True):
        raise UserError(
            f"agent={agent_name(loaded.config.agent)} has no actor that learnt in the world model "
            "and could play on the page: give a run of agent=imagination or agent=mpc"
        )
    return agent.networks.ema_actor


def step_graph(step: Step) -> Any:
    """Return a step as an ONNX model."""
    model = step.model
    action, noise = torch.zeros(1, model.action_dim), torch.zeros(1, step.noise_dim)
    inputs = {**named_state(step), "action": action, "noise": noise}
    return to_onnx(step, inputs, step.outputs)


def actor_graph(step: Step, actor: Actor) -> Any:
    """Return the actor as an ONNX model."""
    noise = torch.zeros(1, step.model.action_dim)
    return to_onnx(actor, {**named_state(step), "noise": noise}, [*actor.outputs])


def named_state(step: Step) -> dict[str, Tensor]:
    """Return an example of the state as inputs of a graph."""
    return step.model.initial(1)._asdict()


def describe(
    run: Path, loaded: LoadedRun, step: Step, usual: dict[str, Any] | None, starts: list[Start]
) -> dict[str, Any]:
    """Return what the page needs to know: sizes, names, states to begin with."""
    config, model = loaded.config, step.model
    return {
        "task": config.env.task,
        "agent": agent_name(config.agent),
        "model": model_name(config),
        "frames": loaded.frames,
        "shape": list(model.frame_shape),
        "state": list(model.state_dims),
        "actions": model.action_dim,
        "discrete": loaded.discrete,
        "noise": step.noise_dim,
        "usual": usual,
        "unscored": None if usual else why_unscored(step),
        "starts": [
            {name: part.tolist() for name, part in start.state._asdict().items()}
            for start in starts
        ],
    }


def why_unscored(step: Step) -> str:
    """Return why the page cannot say how surprising a frame is."""
    if step.exact:
        return "The recorded episodes are too short to know what is usual, so no surprise is shown."
    return "This world model has no exact likelihood, so no surprise is shown."


if __name__ == "__main__":
    run_command(main)
