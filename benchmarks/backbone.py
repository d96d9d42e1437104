"""What a pretrained encoder is worth: `python -m benchmarks.backbone models=FOLDER`.

FOLDER holds runs of `benchmarks.backbone_weights`: aef-dct, and vae and ae where they were trained
on the same images for as many updates. A random encoder is always among the arms. Linear and MLP
probes read the positions of bodies off single images, on seen tasks and on those of held-out
domains, fitted on some environments and judged on others; then the encoder's latency is measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from aef_worldmodel import AEFBackbone
from aef_worldmodel.metrics.regression import network_regression, r_squared, ridge
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import ConfigError, check_bounds
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table
from agents.config import train as settings
from agents.config.hardware import HardwareConfig, resolve
from agents.training.provenance import provenance
from benchmarks.timing import median_seconds
from envs.batched import BatchedEnv
from envs.scenes import ENVS, random_scenes
from envs.suite import make_task

SEEN = ("cheetah-run", "walker-walk", "reacher-easy")
UNSEEN = ("finger-spin", "quadruped-walk", "manipulator-bring-ball")
NOT_POSITIONS = ("vel", "touch", "force", "torque", "accel", "gyro", "ctrl", "activation")
PROBES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "linear": ridge,
    "mlp": network_regression,
}
BATCHES = (1, 32, 256)


@dataclass(frozen=True)
class BackboneConfig:
    """Settings of `python -m benchmarks.backbone`."""

    models: str | None = None
    """Folder with the runs aef-dct, vae and ae; those that are missing are left out."""
    count: int = 600
    """Images of a task for its probes."""
    seeds: int = 3
    """Sets of images, each with other environments and probes."""
    rounds: int = 9
    """Times that each latency counts."""
    compile: bool = True
    """Measure torch.compile, too, which needs a C++ compiler."""
    onnx: bool = True
    """Measure onnxruntime, too, which needs the extra [onnx]."""
    out: str = "results/backbone.csv"
    """The CSV."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, count=(ENVS, None), seeds=(1, None), rounds=(1, None))


def arms(models: Path) -> dict[str, AEFBackbone]:
    """Return the trained encoders by name, and one with random weights and the AEF's mean image."""
    found = {
        name: AEFBackbone.from_run(models / name).freeze()
        for name in ("aef-dct", "vae", "ae")
        if (models / name / "config.yaml").exists()
    }
    if "aef-dct" not in found:
        raise UserError(
            f"models={models} has no run aef-dct: make it by benchmarks.backbone_weights"
        )
    trained = found["aef-dct"]
    torch.manual_seed(0)
    random = AEFBackbone(trained.shape, vars(trained.settings) | {"model": "ae"})
    random.autoencoder.mean.copy_(trained.autoencoder.mean)
    return {**found, "random": random.freeze()}


def positions(task: str) -> list[int]:
    """Return which numbers of a task's state are positions."""
    env = BatchedEnv(make_task(task), obs="proprio")
    names = env.proprio_names
    env.close()
    return [i for i, n in enumerate(names) if not any(word in n for word in NOT_POSITIONS)]


@torch.no_grad()
def probe(task: str, encoders: dict[str, AEFBackbone], count: int, seed: int) -> list[dict]:
    """Return R^2 of positions on held-out environments, for each encoder, probe and feature."""
    scenes, rows = random_scenes(task, count, seed), []
    known = scenes.origin < 3 * ENVS // 4
    truth = scenes.proprio[:, positions(task)]
    truth = truth[:, truth[known].std(0) > 1e-3]  # those that move
    for name, encoder in encoders.items():
        features = encoder.features(scenes.frames)
        kinds = {"latent": features[:, -encoder.latent_dim :], "features": features}
        for kind, x in kinds.items():
            for how, regress in PROBES.items():
                torch.manual_seed(seed)
                with torch.enable_grad():
                    predicted = regress(x[known], truth[known], x[~known]).detach()
                value = r_squared(predicted, truth[~known]).nanmean().item()
                rows.append({"what": f"{how} probe of {kind}", "arm": name, "value": value})
    return [row | {"task": task, "seed": seed, "unit": "R2"} for row in rows]


@torch.no_grad()
def latency(encoder: AEFBackbone, asked: BackboneConfig) -> list[dict]:
    """Return milliseconds of the encoder for each batch size."""
    rows = []
    for batch in BATCHES:
        images = torch.rand(batch, *encoder.shape)
        calls: dict[str, Callable[[], object]] = {"eager": lambda x=images: encoder(x)}
        with TemporaryDirectory() as folder:
            if asked.compile:
                compiled = torch.compile(encoder)
                calls["compiled"] = lambda x=images, f=compiled: f(x)
            if asked.onnx:
                calls["onnx"] = onnx_call(encoder, images, Path(folder) / "encoder.onnx")
            seconds = median_seconds(calls, asked.rounds)
        rows += [
            {"what": f"latency, batch {batch}", "arm": n, "value": 1e3 * s, "unit": "ms"}
            for n, s in seconds.items()
        ]
    return [row | {"task": "", "seed": ""} for row in rows]


def onnx_call(encoder: AEFBackbone, images: Tensor, path: Path) -> Callable[[], object]:
    """Return a function that encodes the images by onnxruntime, on as many threads as torch."""
    import onnxruntime

    encoder.export_onnx(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options)
    return lambda: session.run(["latent"], {"images": images.numpy()})


def main(argv: Sequence[str]) -> None:
    """Measure, print and write."""
    asked = settings.load(argv, BackboneConfig, "benchmarks.backbone")
    if asked.models is None:
        raise ConfigError("models is not set: give models=FOLDER of benchmarks.backbone_weights")
    encoders = arms(Path(asked.models))
    hardware = resolve(HardwareConfig(threads=torch.get_num_threads()))
    source = provenance("benchmarks.backbone", argv, hardware)
    table = Table(asked.out, ("what", "arm", "task", "seed"))
    for group, tasks in (("seen", SEEN), ("held out", UNSEEN)):
        for task in tasks:
            for seed in range(1000, 1000 + asked.seeds):  # no environment of the training images
                add(table, probe(task, encoders, asked.count, seed), {"group": group} | source)
    add(table, latency(encoders["aef-dct"], asked), {"group": ""} | source)


def add(table: Table, rows: list[dict], more: dict) -> None:
    """Print rows and write them."""
    for row in rows:
        where = " ".join(str(row[name]) for name in ("arm", "task", "seed"))
        print(f"{row['what']:28s} {where:36s} {row['value']:10.4g} {row['unit']}", flush=True)
    table.add(*(row | more for row in rows))


if __name__ == "__main__":
    run_command(main)
