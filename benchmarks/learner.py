"""Where the learner's time goes: `python -m benchmarks.learner [out=results/learner_cpu.csv]`.

One run, alternating the things compared, median of several rounds: encoder and decoder as patch
products against convolutions of the same size, float32 against bfloat16; an update's two sides
alone, one after the other, and side by side; and the frames/s that come of it.
"""

import csv
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_worldmodel.networks import PatchDecoder, PatchEncoder
from agents import config as settings
from agents.learner import Learner
from agents.provenance import commit, machine

SHAPE, LATENT, ROUNDS = (3, 64, 64), 32, 12


class ConvEncoder(nn.Module):
    """The usual alternative to PatchEncoder: a patch stem, two strided convolutions."""

    def __init__(self, width: int = 24):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(3, 2 * width, 4, 4), nn.SiLU(),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1), nn.SiLU(),
            nn.Conv2d(4 * width, 4 * width, 4, 2, 1), nn.SiLU(), nn.Flatten(),
            nn.Linear(64 * width, 256), nn.LayerNorm(256), nn.SiLU(), nn.Linear(256, 2 * LATENT),
        ).to(memory_format=torch.channels_last)  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        return self.convs(image.contiguous(memory_format=torch.channels_last))


class ConvDecoder(nn.Module):
    """The usual alternative to PatchDecoder: pixel-shuffle convolutions from a 4x4 grid."""

    def __init__(self, width: int = 24):
        super().__init__()
        self.width = width
        self.dense = nn.Sequential(nn.Linear(LATENT, 256), nn.LayerNorm(256), nn.SiLU(),
                                   nn.Linear(256, 64 * width))
        sizes = ((4 * width, 16 * width), (4 * width, 8 * width), (2 * width, 48))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, 1, 1) for a, b in sizes)
        self.convs.to(memory_format=torch.channels_last)

    def forward(self, latent: Tensor) -> Tensor:
        x = self.dense(latent).view(-1, 4 * self.width, 4, 4)
        for conv, shuffle in zip(self.convs, (2, 2, 4)):
            x = F.pixel_shuffle(conv(F.silu(x)), shuffle)
        return x


def median_ms(things: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of each, taken in turns so that drift hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in things}
    for turn in range(ROUNDS + 2):
        for name, thing in things.items():
            begin = time.perf_counter()
            thing()
            if turn > 1:
                times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def backward(network: nn.Module, inputs: Tensor, low: bool) -> Callable[[], None]:
    """Forward and backward of one network."""

    def call() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            out = network(inputs)
        out = torch.cat(out, -1) if isinstance(out, tuple) else out
        out.float().square().mean().backward()

    return call


def networks(config: settings.TrainConfig) -> dict[str, float]:
    """Encoder on a batch of frames, decoder on those it decodes."""
    frames = torch.randn(config.batch * config.length, *SHAPE)
    latents = torch.randn(config.world_model.decoded_frames, LATENT)
    parts = {
        "encoder, patches": (PatchEncoder(SHAPE, LATENT), frames),
        "encoder, convolutions": (ConvEncoder(), frames),
        "decoder, patches": (PatchDecoder(SHAPE, LATENT), latents),
        "decoder, convolutions": (ConvDecoder(), latents),
    }
    return median_ms({
        f"{name}, {'bfloat16' if low else 'float32'}": backward(*part, low)
        for name, part in parts.items() for low in (False, True)
    })  # fmt: skip


def updates(config: settings.TrainConfig) -> dict[str, float]:
    """The two sides of an update."""
    learner = Learner(config, SHAPE, 6)
    size, length = config.batch, config.length
    flags = torch.zeros(size, length, dtype=torch.bool)
    batch = {
        "frame": torch.randint(0, 256, (size, length, *SHAPE), dtype=torch.uint8),
        "action": torch.rand(size, length, 6), "reward": torch.rand(size, length),
        "first": flags, "terminal": flags,
        "recurrent": torch.zeros(size, length, config.world_model.recurrent_dim),
    }  # fmt: skip
    after = torch.zeros(size, learner.rows_after, dtype=torch.bool)
    batch |= {
        "reward_after": torch.rand(after.shape), "first_after": after, "terminal_after": after,
        "there_after": ~after,
    }  # fmt: skip
    learner.update(batch, act=True)
    pool = learner.pool

    def update(side_by_side: bool) -> None:
        learner.pool = pool if side_by_side else None
        learner.update(batch, act=True)

    def act() -> None:
        learner.pool = None
        learner._finish_acting(*learner._begin_acting(learner.last))

    return median_ms({
        "update, world model alone": lambda: learner.update(batch, act=False),
        "update, actor-critic alone": act,
        "update, one after the other": lambda: update(False),
        "update, side by side": lambda: update(True),
    })  # fmt: skip


def main(arguments: list[str]) -> None:
    """Measures, prints a table, and writes it as CSV where asked."""
    out = dict(a.split("=", 1) for a in arguments).get("out")
    config = settings.load([])
    torch.set_num_threads(max(1, config.hardware.threads // 2))
    rows = networks(config) | updates(config)
    both = rows["update, side by side"]
    per_frame = both / config.frames_per_update
    where = machine(config.hardware)
    for name, value in rows.items():
        print(f"{name:40s} {value:8.1f} ms")
    print(f"learning alone would allow {1e3 / per_frame:.0f} frames/s ({where})")
    if out:
        with open(out, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["what", "ms", "commit", "hardware", "command"])
            for name, value in rows.items():
                command = "python -m benchmarks.learner"
                writer.writerow([name, f"{value:.1f}", commit(), where, command])


if __name__ == "__main__":
    main(sys.argv[1:])
