"""What is said of rewards and returns that two-hot heads cannot tell apart."""

import math
from collections.abc import Callable

from agents.learning.learner import Learner


class OverflowNotice:
    """Says once for each two-hot head that its targets are beyond its outermost bins.

    Args:
        learner: holds the heads.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.told: set[str] = set()

    def tell(self, say: Callable[[str], None]) -> None:
        """Call `say` with the sentence about every head that it was not said of yet."""
        found = self.learner.overflows()
        for name in found.keys() - self.told:
            self.told.add(name)
            divisor = 10 ** math.ceil(math.log10(found[name] / 100))
            say(
                f"the targets of the {name.replace('_', ' ')} reach {found[name]:,.0f}: beyond "
                "22,025 it cannot tell them apart; divide the environment's rewards, for instance "
                f"by {divisor:,}"
            )
