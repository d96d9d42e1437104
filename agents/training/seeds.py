"""Seeds of environments: one table of streams, none of which plays an episode of another.

Every seed is a hash of the command's `seed`, the stream's number and a place in the stream, so that
neighbouring seeds share nothing either. Environments hash it again, one for each of them
(`envs.seeds`).
"""

from __future__ import annotations

from dataclasses import dataclass

from envs.seeds import hashed_seed

HASHED = "hashed"  # how seeds of new runs are made, as checkpoints and recordings note it
SPACED = "spaced"  # how those of runs before version 0.2 were: they keep them


@dataclass(frozen=True)
class SeedStream:
    """The seeds of one use of environments."""

    number: int
    """Tells the stream from others; never given to another one."""
    begin: int = 0
    """Spaced seeds: the first seed of a command with seed=0."""
    stride: int = 0
    """Spaced seeds: how far apart those of two commands are whose `seed` differs by 1."""

    def of(self, seed: int = 0, place: int = 0, kind: str = HASHED) -> int:
        """Return the seed of a place in the stream of a command with that `seed`."""
        if kind == HASHED:
            return hashed_seed(seed, self.number, place)
        return self.begin + self.stride * seed + place

    def envs(self, seed: int, place: int, count: int, kind: str = HASHED) -> int | list[int]:
        """Return what `count` environments that play from a place on are reset with."""
        begin = self.of(seed, place, kind)
        return begin if kind == HASHED else list(range(begin, begin + count))


# agents.train: the environments it learns in, and those of third parties after a resume, whose
# place is the number of frames
TRAINING = SeedStream(1)
RESUMED = SeedStream(2)
# agents.train: evaluation k of E episodes is at place k E
EVALUATION = SeedStream(3, begin=1_000_000)
# agents.evaluate and the benchmarks that play finished runs
FINAL_EVALUATION = SeedStream(4)
# agents.probe: episodes of the run's agent, and of random actions
PROBE_AGENT = SeedStream(5)
PROBE_RANDOM = SeedStream(6)
# agents.collect: a batch is at the place of its first episode
COLLECTION = SeedStream(7, begin=5_000_000, stride=100_000)
# agents.evolve: rollout r of R of generation g is at place g R + r; its noise at place g
EVOLUTION = SeedStream(8, begin=7_000_000, stride=2_000_000)
EVOLUTION_NOISE = SeedStream(9, begin=7_000_000, stride=2_000_000)
EVOLUTION_EVALUATION = SeedStream(10, begin=8_000_000)
# agents.evaluate and benchmarks: episodes whose likelihoods others are compared with
CALIBRATION = SeedStream(11)

STREAMS = {name: value for name, value in vars().items() if isinstance(value, SeedStream)}
