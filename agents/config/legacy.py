"""Keys of runs that commit 0f2081c or earlier saved: their names and values today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aef_worldmodel.utils.config.schema import ConfigError, shown

LAST = "last supported at commit 0f2081c"
ANY = object()  # a removed key that may have any value

ROOT = {
    "eye": "init_autoencoder_from",
    "batch": "replay.batch_size",
    "length": "replay.sequence_length",
    "replay_rows": "replay.capacity",
    "recency": "replay.recency",
    "model_rate": "lr.model",
    "actor_rate": "lr.actor",
    "critic_rate": "lr.critic",
    "average_rate": "ema.model",
    "eval_every": "eval.every",
    "eval_episodes": "eval.episodes",
    "env.rays": "env.samples_per_pixel",
    "env.restart_every": "env.random_truncation_every",
    "hardware.autocast": "hardware.precision",
    "world_model.overshoot": "objective.overshoot",
}
ACTOR_CRITIC = {
    "agent.starts": "agent.imagination_batch",
    "agent.trace": "agent.return_lambda",
    "agent.replay_horizon": "agent.critic_replay_steps",
    "agent.quiet_worlds": "agent.greedy_env_fraction",
    "agent.slow_rate": "ema.critic",
    "agent.actor_rate": "ema.actor",
}
PLAN = {
    "agent.horizon": "agent.plan.horizon",
    "agent.candidates": "agent.plan.num_samples",
    "agent.proposals": "agent.plan.num_policy_trajectories",
    "agent.elites": "agent.plan.num_elites",
    "agent.rounds": "agent.plan.iterations",
    "agent.bootstrap": "agent.plan.use_value",
}
RENAMED: dict[str, dict[str, str]] = {  # agent -> old key -> new key
    "imagination": ACTOR_CRITIC,
    "mpc": PLAN,
    "sac": {"agent.steps": "agent.gradient_steps", "agent.rate": "lr.actor"},
    "ppo": {"agent.trace": "agent.return_lambda", "agent.rate": "lr.actor"},
    "cmaes": {"agent.starts": "agent.imagination_batch"},
}
REMOVED_ROOT = {  # old key -> the value that is a constant of the code today
    "world_model.prior_flow": None,
    "world_model.prior_floor": 0.03,
    "world_model.inverse_weight": 0.0,
    "world_model.reward_weight": 1.0,
    "world_model.decoded_frames": 64,
    "hardware.profile": ANY,
    "hardware.replay": ANY,
}
REMOVED: dict[str, dict[str, Any]] = {  # agent -> old key -> the same
    "imagination": {
        "agent.gradient": "dynamics",
        "agent.replay_value": 1.0,
        "agent.std_floor": 0.3,
    },
    "mpc": {
        "agent.method": "mppi",
        "agent.noise": 0.0,
        "agent.temperature": 0.5,
        "agent.std_floor": 0.05,
    },
    "sac": {"agent.batch": 256, "agent.window": 32},
    "ppo": {"agent.epochs": 10, "agent.batch": 256},
    "cmaes": {"agent.step": 0.1, "agent.hidden": 0, "agent.reads": "hz"},
    "scripted": {"agent.period": 20.0, "agent.lag": 0.25},
}
CONVERTED: dict[str, tuple[str, dict[Any, Any]]] = {  # old key -> new key, old value -> new value
    "world_model.core": (
        "world_model.autoencoder",
        {"dct": "aef", "center": "aef-center", "corner": "aef-corner"},
    ),
    "world_model.decoder": ("world_model.networks", {"patches": "patch", "pyramid": "pyramid"}),
    "world_model.training": ("objective.staged", {"joint": False, "staged": True}),
}


def update(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a saved run under today's keys; values of today as they are.

    Raises:
        ConfigError: a removed key has a value that nothing supports any more.
    """
    if not {"model_rate", "replay_rows", "batch"} & set(values):
        return dict(values)
    flat = _flatten(values)
    agent = flat.setdefault("agent.kind", "imagination")
    _join_task(flat)
    _join_autoencoder(flat)
    own = {key: flat.pop(key) for key in list(flat) if key.startswith("agent.")}
    for key, (new, names) in CONVERTED.items():
        if key in flat:
            old = flat.pop(key)
            flat[new] = names[old] if old in list(names) else _refuse(key, old)
    flat = _translated(flat, ROOT, REMOVED_ROOT)
    actor_critic = {
        key.replace("agent.imagination.", "agent."): own.pop(key)
        for key in list(own)
        if key.startswith("agent.imagination.")
    }
    for part, kind in ((own, agent), (actor_critic, "imagination")):
        if part.get("agent.replay_horizon", 1) is None:
            _refuse("agent.replay_horizon", None)
        flat |= _translated(part, RENAMED.get(kind, {}), REMOVED.get(kind, {}))
    return _nest(flat)


def update_env(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of environments, as recorded episodes keep them, under today's keys."""
    flat = {f"env.{key}": value for key, value in values.items()}
    _join_task(flat)
    return _nest(_translated(flat, ROOT, {}))["env"]


def explain(key: str, value: str) -> str | None:
    """Return the sentence about an old key on a command line; None for any other key."""
    if key in ("env.backend", "env.crop"):
        return f"{key} is now part of env=: dm_control:TASK, or gym:ID?crop=0,12,0,0"
    if key in CONVERTED and value in (names := CONVERTED[key][1]):
        return f"{key}={shown(value)} is now {CONVERTED[key][0]}={shown(names[value])}"
    inner = key.replace("agent.imagination.", "agent.")
    for table in (ROOT, ACTOR_CRITIC, *RENAMED.values()):
        if inner in table and not (inner != key and table is PLAN):
            return f"{key}={shown(value)} is now {table[inner]}={shown(value)}"
    if any(inner in removed for removed in (CONVERTED, REMOVED_ROOT, *REMOVED.values())):
        return f"{key}={shown(value)} is no longer a key ({LAST}): leave it out"
    return f"{key}={shown(value)} is now {inner}={shown(value)}" if inner != key else None


def _join_task(flat: dict[str, Any]) -> None:
    """Put the simulator and the crop into the task's name, in place."""
    crop, backend = flat.pop("env.crop", None), flat.pop("env.backend", None)
    if isinstance(crop, list) and any(crop):
        flat["env.task"] = f"{flat.get('env.task')}?crop={','.join(map(str, crop))}"
    if backend:
        flat["env.task"] = f"{backend}:{flat.get('env.task')}"


def _join_autoencoder(flat: dict[str, Any]) -> None:
    """Leave either a core or an autoencoder that has none, in place."""
    if flat.get("world_model.autoencoder", "partition") == "partition":
        flat.pop("world_model.autoencoder", None)
    else:
        flat.pop("world_model.core", None)


def _translated(
    flat: Mapping[str, Any], renamed: Mapping[str, str], removed: Mapping[str, Any]
) -> dict[str, Any]:
    found = {}
    for key, value in flat.items():
        if key not in removed:
            found[renamed.get(key, key)] = value
        elif removed[key] is not ANY and removed[key] != value:
            _refuse(key, value)
    return found


def _refuse(key: str, value: Any) -> Any:
    raise ConfigError(f"{key}={shown(value)} was removed, {LAST}")


def _flatten(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        here = f"{path}{key}"
        flat |= _flatten(value, f"{here}.") if isinstance(value, Mapping) else {here: value}
    return flat


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in flat.items():
        *path, name = key.split(".")
        inner = values
        for part in path:
            if not isinstance(inner.get(part), dict):
                inner[part] = {}
            inner = inner[part]
        inner[name] = value
    return values
