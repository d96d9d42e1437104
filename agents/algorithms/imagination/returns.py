"""Returns of imagined and replayed rollouts.

Shapes: L imagined decisions, N rollouts, B sequences, T rows, K decisions ahead.
"""

import torch
from torch import Tensor

from aef_worldmodel.data.batch import FutureRows


def lambda_returns(
    reward: Tensor, cont: Tensor, value: Tensor, discount: float, return_lambda: float
) -> Tensor:
    """Return R_t = r_(t+1) + gamma c_(t+1) ((1 - lambda) v_(t+1) + lambda R_(t+1)), R_L = v_L.

    reward and cont (L, N) arrive with states 1..L; value (L + 1, N). The result is (L, N).
    """
    last, returns = value[-1], []
    for t in reversed(range(len(reward))):
        ahead = (1 - return_lambda) * value[t + 1] + return_lambda * last
        last = reward[t] + discount * cont[t] * ahead
        returns.append(last)
    return torch.stack(returns[::-1])


def discounts(cont: Tensor, discount: float) -> Tensor:
    """Return the weight of each imagined decision: the product of discounts before it, (L, N)."""
    ones = torch.ones_like(cont[:1])
    return torch.cat([ones, (discount * cont[:-1]).cumprod(0)])


def observed_returns(
    future: FutureRows, length: int, discount: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return discounted sums of the rewards observed after each row of sequences of T rows.

    The K decisions after a row count, or fewer where its episode ends earlier or is not recorded
    so far; `future` holds T - 1 + K rows. Returns (B, T) each: the sum; the discount of what
    follows the sum, 0 where the episode terminated; and 1 where any reward was observed, else 0.
    """
    count = future.reward.shape[1] - length + 1
    ahead = FutureRows(*(x.unfold(1, count, 1) for x in future))  # (B, T, K)
    alive = (ahead.valid & ~ahead.first).cumprod(-1)
    weight = discount ** torch.arange(count, device=alive.device)
    observed = (ahead.reward * alive * weight).sum(-1)
    ended = (ahead.terminal & alive.bool()).any(-1)
    return observed, discount ** alive.sum(-1) * ~ended, alive[..., 0].float()
