"""Whether images are drawn as those that a model learnt from, by the hash of a reference frame."""

from collections.abc import Mapping
from typing import Any

from agents.playing.env_factory import unwrap_chain

Fingerprint = dict[str, str]  # "of", "frame" and "drawn_by", see envs.verification.frames


def fingerprint_of(env: Any) -> Fingerprint | None:
    """Return what identifies the images of environments; None where others draw them."""
    from envs.batched import BatchedEnv  # imports simulators
    from envs.verification.frames import fingerprint

    inner = unwrap_chain(env)[-1]
    return fingerprint(inner) if isinstance(inner, BatchedEnv) else None


def redrawn(
    saved: Mapping[str, str] | None, now: Mapping[str, str] | None, whose: object
) -> list[str]:
    """Return the sentence about images that are drawn differently now; [] if there is nothing.

    Args:
        saved: the fingerprint saved with a checkpoint, a replay or recorded episodes; None for
            one of an earlier version or of third-party environments.
        now: that of the environments here.
        whose: what was saved, for the sentence.
    """
    if not saved or not now:
        return []
    if saved.get("of") == now["of"]:
        same, how = saved.get("frame") == now["frame"], "draws a reference frame differently"
    else:
        same, how = saved.get("drawn_by") == now["drawn_by"], "may draw differently"
    if same:
        return []
    then, here = saved.get("drawn_by"), now["drawn_by"]
    sentence = f"{whose} is of images drawn by {then}, but {here} {how} here: expect other results"
    return [sentence]
