"""Print the tasks in a table: `python -m envs`."""

import warnings

import torch

import envs
from envs.checks import control_range
from envs.engines.cpu import CpuEngine
from envs.engines.mjcf import compile_model
from envs.observation import proprio_names
from envs.suite import make_task
from envs.verification.command import run


def format_task(name: str) -> str:
    """Return a row: the sizes of action and state, timing, camera and engines."""
    task = make_task(name)
    model = compile_model(task.spec())
    sim = CpuEngine(model, 1)
    sim.forward(torch.tensor([0]))
    state = len(proprio_names(task, sim))
    actions = control_range(model).shape[1]
    substeps = task.substeps(model)
    step = 1e3 * model.opt.timestep * substeps
    camera = model.camera(task.camera).name
    engines = ", ".join(task.engines)
    timing = f"{task.episode_length:6d} {step:5.1f} ms {substeps:5d}"
    return f"{name:25s} {actions:6d} {state:6d} {timing}   {camera:13s} {engines}"


def main(argv: list[str]) -> None:
    """Print the table."""
    if argv:
        raise ValueError(f"{argv[0]!r} is not an argument: `python -m envs` takes none.")
    warnings.simplefilter("ignore", UserWarning)  # about deprecated attributes in the XML
    print("task                      action  state frames     step  substeps camera       engines")
    for name in envs.tasks():
        print(format_task(name), flush=True)


if __name__ == "__main__":
    run(main)
