"""Seeds of batched environments, so that neighbouring seeds share no episode."""

from collections.abc import Sequence

import numpy as np

LARGEST_SEED = 2**62


def hashed_seed(seed: int, *place: int) -> int:
    """Return the seed, below 2^62, that belongs to a place under a seed, by numpy's SeedSequence.

    Other seeds or places give other numbers: that two of a million agree has a chance of 1e-7.
    """
    words = np.random.SeedSequence(seed, spawn_key=place).generate_state(1, np.uint64)
    return int(words[0]) % LARGEST_SEED


def env_seeds(seed: int | Sequence[int], num_envs: int) -> list[int]:
    """Return the seeds of N environments: hashed from one for all, or the N given as they are.

    Raises:
        ValueError: the number of seeds is not N, or one is out of range.
    """
    single = isinstance(seed, int | np.integer)
    given = [int(seed)] if single else [int(s) for s in seed]
    if not all(0 <= s < LARGEST_SEED for s in given):
        raise ValueError(f"seed={seed} is out of range: give 0 or more, below 2^62.")
    if single:
        return [hashed_seed(given[0], i) for i in range(num_envs)]
    if len(given) != num_envs:
        raise ValueError(
            f"{len(given)} seeds for {num_envs} environments: give one for each, or one number."
        )
    return given
