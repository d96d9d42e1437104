"""The tasks in a table: `python -m envs.list`."""

import warnings

import torch

from envs.checks import control_range
from envs.engine_cpu import CpuEngine
from envs.model import compile_model
from envs.suite import make_task, registry


def row(name: str) -> str:
    """A task's name, action and state sizes, timing, camera and engines."""
    task = make_task(name)
    model = compile_model(task.spec())
    sim = CpuEngine(model, 1)
    sim.forward(torch.tensor([0]))
    state = sum(part.numel() for part in task.proprio(sim).values())
    actions = control_range(model).shape[1]
    substeps = task.substeps(model)
    step = 1e3 * model.opt.timestep * substeps
    camera = model.camera(task.camera).name
    engines = ", ".join(task.engines)
    timing = f"{task.frames:6d} {step:5.1f} ms {substeps:5d}"
    return f"{name:25s} {actions:6d} {state:6d} {timing}   {camera:13s} {engines}"


def main() -> None:
    """Prints the table."""
    warnings.simplefilter("ignore", UserWarning)  # deprecated attributes of the suite's XML
    print("task                      action  state frames     step  substeps camera       engines")
    for name in registry():
        print(row(name), flush=True)


if __name__ == "__main__":
    main()
