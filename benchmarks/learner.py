"""Where the time of an update goes: `python -m benchmarks.learner out=results/learner_cpu.csv`.

Calls take turns; the numbers are medians. Encoder and decoder as products over patches are beside
convolutions of the same size, in float32 and in bfloat16. The two sides of an update are measured
alone, one after the other, and side by side.

    python -m benchmarks.learner against=0f2081c hardware.threads=1

compares whole updates with those of another revision instead, which is checked out into a temporary
folder: both versions run with equal settings in processes of their own, which take turns. Then each
says where its time goes, and the time that matrix products alone would take at this processor's
measured rate, the limit, is put beside. A revision may need packages that today's code does not
need (0f2081c: hydra-core).
"""

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_worldmodel.autoencoders.patch_networks import PatchDecoder, PatchEncoder
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import check_bounds
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table
from aef_worldmodel.world_models.recurrent import DECODED_SHARE
from agents.config import train as settings
from agents.config.hardware import HardwareConfig
from agents.config.train import TrainConfig
from agents.learning.overlap import Overlap
from agents.training.provenance import machine, provenance
from benchmarks import update_worker
from benchmarks.timing import median_seconds
from benchmarks.update_worker import SHAPE

ROOT, LATENT = Path(__file__).resolve().parents[1], 32
USUAL = TrainConfig()
SIZE, LENGTH = USUAL.replay.batch_size, USUAL.replay.sequence_length


@dataclass(frozen=True)
class LearnerConfig:
    """Settings of `python -m benchmarks.learner`."""

    against: str | None = None
    """A revision whose updates are compared with today's; null for the parts of an update."""
    rounds: int = 12
    """Times that each call counts."""
    updates: int = 5
    """Updates of a round, with `against`."""
    out: str | None = None
    """The CSV; null for none."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """The machine."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, rounds=(1, None), updates=(1, None))


# -- the parts of an update ----------------------------------------------------------------


class ConvEncoder(nn.Module):
    """The usual alternative to PatchEncoder: a patch stem, two strided convolutions."""

    def __init__(self, width: int = 24):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(3, 2 * width, 4, 4),
            nn.SiLU(),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1),
            nn.SiLU(),
            nn.Conv2d(4 * width, 4 * width, 4, 2, 1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(64 * width, 256),
            nn.LayerNorm(256),
            nn.SiLU(),
            nn.Linear(256, 2 * LATENT),
        ).to(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> Tensor:
        """Return mean and log-scale (N, 2 d) of images (N, C, H, W)."""
        return self.convs(image.contiguous(memory_format=torch.channels_last))


class ConvDecoder(nn.Module):
    """The usual alternative to PatchDecoder: pixel-shuffle convolutions from a 4x4 grid."""

    def __init__(self, width: int = 24):
        super().__init__()
        self.width = width
        self.dense = nn.Sequential(
            nn.Linear(LATENT, 256), nn.LayerNorm(256), nn.SiLU(), nn.Linear(256, 64 * width)
        )
        sizes = ((4 * width, 16 * width), (4 * width, 8 * width), (2 * width, 48))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, 1, 1) for a, b in sizes)
        self.convs.to(memory_format=torch.channels_last)

    def forward(self, latent: Tensor) -> Tensor:
        """Return images (N, C, H, W) of latents (N, d)."""
        x = self.dense(latent).view(-1, 4 * self.width, 4, 4)
        for conv, shuffle in zip(self.convs, (2, 2, 4)):
            x = F.pixel_shuffle(conv(F.silu(x)), shuffle)
        return x


def backward(network: nn.Module, inputs: Tensor, low: bool) -> Callable[[], None]:
    """Return a function that runs a network forward and backward."""

    def call() -> None:
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=low):
            out = network(inputs)
        out = torch.cat(out, -1) if isinstance(out, tuple) else out
        out.float().square().mean().backward()

    return call


def network_calls(device: str) -> dict[str, Callable[[], object]]:
    """Return calls of encoders on a batch of frames, and of decoders on those that are decoded."""
    frames = torch.randn(SIZE * LENGTH, *SHAPE, device=device)
    latents = torch.randn(len(frames) // DECODED_SHARE, LATENT, device=device)
    parts = {
        "encoder, patches": (PatchEncoder(SHAPE, LATENT), frames),
        "encoder, convolutions": (ConvEncoder(), frames),
        "decoder, patches": (PatchDecoder(SHAPE, LATENT), latents),
        "decoder, convolutions": (ConvDecoder(), latents),
    }
    return {
        f"{name}, {'bfloat16' if low else 'float32'}": backward(network.to(device), inputs, low)
        for name, (network, inputs) in parts.items()
        for low in (False, True)
    }


def update_calls(hardware: HardwareConfig) -> dict[str, Callable[[], object]]:
    """Return calls of the two sides of an update."""
    sizes = (hardware.precision, SIZE, LENGTH, hardware.compile)
    learner, batch = update_worker.make(hardware.device, hardware.threads or 1, *sizes)
    beside, alone = learner.overlap, Overlap(None)
    learner.update(batch, act=True)  # the agent learns from the previous batch

    def update(overlap: Overlap, act: bool) -> None:
        learner.overlap = overlap
        learner.update(batch, act)

    def act() -> None:
        with alone:
            states = lambda: learner.filter_batch(batch)  # noqa: E731
            learner.agent.begin(batch, states, learner.frozen, alone.submit)()

    return {
        "update, world model alone": lambda: update(alone, False),
        "update, actor-critic alone": act,
        "update, one after the other": lambda: update(alone, True),
        "update, side by side": lambda: update(beside, True),
    }


def parts_of_update(asked: LearnerConfig) -> dict[str, float]:
    """Return the milliseconds of each part, and print the frames/s of learning alone."""
    torch.set_num_threads(max(1, (asked.hardware.threads or 1) // 2))
    found = median_seconds(network_calls(asked.hardware.device), asked.rounds)
    found |= median_seconds(update_calls(asked.hardware), asked.rounds)
    speed = USUAL.frames_per_update / found["update, side by side"]
    print(f"learning alone allows {speed:.0f} frames/s ({machine(asked.hardware)})")
    return {name: 1e3 * seconds for name, seconds in found.items()}


# -- another revision ----------------------------------------------------------------------


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """Check a revision out into a temporary folder. Raises UserError for an unknown one."""
    with tempfile.TemporaryDirectory() as folder:
        tree = str(Path(folder) / "tree")
        words = ["worktree", "add", "--detach", tree, revision]
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["git failed"])[-1]
            raise UserError(f"against={revision} cannot be checked out ({reason})")
        try:
            yield Path(tree)
        finally:
            words = ["worktree", "remove", "--force", tree]
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True)


class Worker:
    """The updates of one checkout, in a process of its own. Use it as a context manager.

    Args:
        name: of the version, for error sentences.
        folder: of the checkout.
        hardware: the resolved machine.
    """

    def __init__(self, name: str, folder: Path, hardware: HardwareConfig) -> None:
        source = Path(update_worker.__file__).read_text(encoding="utf-8")
        words = [hardware.device, hardware.threads or 1, hardware.precision]
        words += [json.dumps(hardware.compile), SIZE, LENGTH]
        command = [sys.executable, "-c", source, *map(str, words)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.name, self.process = name, subprocess.Popen(command, cwd=folder, **pipes)

    def seconds(self, updates: int) -> float:
        """Return the seconds of so many updates. Raises UserError if the process ended."""
        return float(self._ask(str(updates)))

    def profile(self) -> dict[str, float]:
        """Return the share of each kind of work in an update's time, and its "gigaflop"."""
        return json.loads(self._ask("profile"))

    def _ask(self, question: str) -> str:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{question}\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise UserError(
                f"the updates of {self.name} ended early: install what the traceback above lacks, "
                "or give another revision"
            )
        return line

    def __enter__(self) -> "Worker":
        """Return the worker."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


def product_rate(low: bool, rounds: int) -> float:
    """Return the GFLOP/s of one thread in matrix products of an update's sizes."""
    torch.set_num_threads(1)
    kind, sizes = (torch.bfloat16 if low else torch.float32), ((2560, 288, 256), (3072, 512, 128))
    pairs = {
        str(size): partial(
            torch.mm, torch.randn(size[:2], dtype=kind), torch.randn(size[1:], dtype=kind)
        )
        for size in sizes
    }
    seconds = sum(median_seconds(pairs, rounds).values())
    return sum(2 * m * k * n for m, k, n in sizes) / seconds / 1e9


def compare_revisions(asked: LearnerConfig) -> dict[str, float]:
    """Return the milliseconds of an update of both versions, and print the ratio of speeds."""
    revision = str(asked.against)
    with (
        checkout(revision) as tree,
        Worker("this checkout", ROOT, asked.hardware) as ours,
        Worker(revision, tree, asked.hardware) as theirs,
    ):
        for worker in (ours, theirs):
            worker.seconds(2)  # not counted
        rounds = [
            (ours.seconds(asked.updates), theirs.seconds(asked.updates))
            for _ in range(asked.rounds)
        ]
        profiles = {"update": ours.profile(), f"update at {revision}": theirs.profile()}
    own, other = (statistics.median(times) / asked.updates for times in zip(*rounds))
    ratio = statistics.median(theirs / ours for ours, theirs in rounds)
    print(f"{1 / own:.2f} updates/s; {revision}: {1 / other:.2f} updates/s; ratio {ratio:.2f}")
    found = {"update": 1e3 * own, f"update at {revision}": 1e3 * other}
    work = 0.0
    for name, shares in profiles.items():
        work = shares.pop("gigaflop")
        found |= {f"{name}, {kind}": share * found[name] for kind, share in shares.items()}
    if asked.hardware.threads != 1:
        return found  # operations of a second thread are not counted
    rate = product_rate(asked.hardware.precision == "bfloat16", 10 * asked.rounds)
    found["limit of one thread"] = 1e3 * work / rate
    print(f"{work:.1f} GFLOP an update, at {rate:.0f} GFLOP/s")
    return found


def main(argv: Sequence[str]) -> None:
    """Measure, print, and write the rows where asked."""
    asked = settings.load(argv, LearnerConfig, "benchmarks.learner")
    rows = compare_revisions(asked) if asked.against else parts_of_update(asked)
    for name, value in rows.items():
        print(f"{name:40s} {value:8.1f} ms")
    if asked.out:
        source = provenance("benchmarks.learner", argv, asked.hardware)
        Table(asked.out, ("what",)).add(*({"what": k, "ms": v} | source for k, v in rows.items()))


if __name__ == "__main__":
    run_command(main)
