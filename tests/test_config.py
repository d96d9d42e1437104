"""Settings: the right value in the right place, and one sentence for every mistake."""

import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_type_hints

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

import configs
import envs
from aef_worldmodel.errors import UserError
from agents import config, hardware
from agents.config import TrainConfig, load, read, save
from agents.hardware import HardwareConfig, choose_profile, native_bfloat16, resolve
from agents.planner import PlannerConfig
from agents.schema import ConfigError, build, field_docs, leaves, members, to_dict
from agents.words import FOLDER, recipes, usage


@dataclass(frozen=True)
class Wheel:
    """A part."""

    size: float
    """Radius in metres."""
    kind: Literal["round", "square"] = "round"
    """Shape."""


@dataclass(frozen=True)
class Cart:
    """A whole."""

    wheel: Wheel
    """What it
    rolls on."""
    name: str = "cart"
    """What it is called."""
    seats: int = 2
    """How many sit."""
    roof: bool = False
    """Whether it is dry."""
    weights: tuple[float, ...] = (1.0,)
    """Kilograms."""
    place: tuple[int, str] | None = None
    """Where it is."""


def test_values_become_a_dataclass():
    cart = build(Cart, {"wheel": {"size": 3}, "seats": 4.0, "weights": [1, 2.5], "name": 17})
    assert cart == Cart(Wheel(3.0), "17", 4, False, (1.0, 2.5))
    assert isinstance(cart.wheel.size, float) and isinstance(cart.seats, int)
    assert build(Cart, {"wheel": {"size": 1}, "place": [3, "x"]}).place == (3, "x")


finite = st.floats(allow_nan=False, allow_infinity=False)
carts = st.builds(
    Cart,
    wheel=st.builds(Wheel, finite, st.sampled_from(["round", "square"])),
    name=st.text(),
    seats=st.integers(),
    roof=st.booleans(),
    weights=st.lists(finite).map(tuple),
    place=st.none() | st.tuples(st.integers(), st.text()),
)


@given(carts)
def test_plain_values_round_trip(cart):
    assert build(Cart, to_dict(cart)) == cart


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({}, "wheel is not set: give wheel=…"),
        ({"wheel": {}}, "wheel.size is not set: give wheel.size=…"),
        ({"wheel": 3}, "wheel=3 must have keys: size, kind"),
        ({"whel": {"size": 1}}, "unknown key 'whel': did you mean wheel?"),
        ({"wheel": {"size": 1, "zzz": 2}}, "unknown key 'wheel.zzz': there are size, kind"),
        ({"wheel": {"size": "big"}}, "wheel.size=big is wrong: expected a number"),
        ({"wheel": {"size": True}}, "wheel.size=True is wrong: expected a number"),
        ({"wheel": {"size": 1, "kind": "rund"}}, "wheel.kind=rund is wrong: did you mean round?"),
        ({"wheel": {"size": 1}, "seats": 1.5}, "seats=1.5 is wrong: expected a whole number"),
        ({"wheel": {"size": 1}, "roof": 1}, "roof=1 is wrong: expected true or false"),
        ({"wheel": {"size": 1}, "weights": 3}, "weights=3 is wrong: expected a list of a number"),
        (
            {"wheel": {"size": 1}, "place": [1, 2, 3]},
            "place=[1, 2, 3] is wrong: expected a list of a whole number and a word or null",
        ),
    ],
)
def test_mistakes_are_named(values, sentence):
    with pytest.raises(ConfigError) as caught:
        build(Cart, values)
    assert str(caught.value) == sentence


def test_a_union_of_dataclasses_holds_the_kind_that_is_named():
    planner = build(TrainConfig, {"agent": {"kind": "mpc", "horizon": 3}}).agent
    assert planner == PlannerConfig(horizon=3)
    assert build(TrainConfig, to_dict(TrainConfig(agent=planner))).agent == planner
    assert build(TrainConfig, {"agent": {"horizon": 3}}).agent.horizon == 3  # the first has no kind
    with pytest.raises(ConfigError, match=r"agent\.kind=mcp is wrong: did you mean mpc"):
        build(TrainConfig, {"agent": {"kind": "mcp"}})
    with pytest.raises(ConfigError, match=r"unknown key 'agent\.horizon': there are kind"):
        build(TrainConfig, {"agent": {"kind": "random", "horizon": 3}})
    known = leaves(TrainConfig)
    assert {"agent.starts", "agent.candidates", "agent.imagination.starts"} <= set(known)


def test_documentation_of_fields():
    assert field_docs(Wheel) == {"size": "Radius in metres.", "kind": "Shape."}
    assert field_docs(Cart)["wheel"] == "What it rolls on."
    assert list(leaves(Cart))[:3] == ["wheel.size", "wheel.kind", "name"]


def parts(kind):
    yield kind
    for hinted in get_type_hints(kind).values():
        for member in members(hinted):
            yield from parts(member)


@pytest.mark.parametrize("kind", list(parts(TrainConfig)), ids=lambda kind: kind.__name__)
def test_every_setting_is_documented(kind):
    assert list(field_docs(kind)) == list(kind.__dataclass_fields__)


def test_defaults_are_the_files():
    loaded = load([])
    assert loaded.env.task == "cheetah-run"
    assert loaded.world_model == TrainConfig().world_model
    assert loaded.hardware.profile == choose_profile()[0]
    assert loaded.hardware.threads >= 1


def test_words_change_values():
    words = ["env=walker-walk", "env.action_repeat=4", "world_model=vae", "frames=2e4"]
    words += ["agent.horizon=5", "hardware.threads=3", "run=some where/a=b's", "model_rate=1e-5"]
    loaded = load(words)
    assert loaded.env == config.EnvConfig("walker-walk", 4)
    assert loaded.world_model.autoencoder == "vae"
    assert (loaded.frames, loaded.agent.horizon, loaded.model_rate) == (20_000, 5, 1e-5)
    assert (loaded.hardware.threads, loaded.run) == (3, "some where/a=b's")
    assert load(["run=017"]).run == "017" and load(["run=null"]).run is None


def groups():
    return [
        f"{path.parent.name}={path.stem}"
        for path in sorted(FOLDER.glob("*/*.yaml"))
        if path.stem != "gpu" and path.parent.name != "recipe"
    ]


@pytest.mark.parametrize("word", groups())
def test_every_file_loads(word):
    assert isinstance(load([word]), TrainConfig)


def test_every_task_works_with_or_without_a_file():
    with_file = {path.stem for path in (FOLDER / "env").glob("*.yaml")}
    assert with_file - {"default", "car-racing"} <= set(envs.tasks())
    assert load(["env=car-racing"]).env.crop == (0, 12, 0, 0)
    for task in envs.tasks()[:3] + envs.tasks()[-2:]:
        assert load([f"env={task}"]).env.task == task


@pytest.mark.parametrize(
    "word, sentence",
    [
        ("env=cheeta-run", "unknown env=cheeta-run: did you mean cheetah-run"),
        ("env.task=walker-walk", "env.task=walker-walk is said as env=walker-walk"),
        ("world_model=va", "unknown world_model=va: did you mean vae?"),
        ("evn=cheetah-run", "unknown key 'evn': did you mean env?"),
        ("latent_dim=3", "unknown key 'latent_dim': did you mean world_model.latent_dim?"),
        ("agent.horizn=3", "unknown key 'agent.horizn': did you mean agent.horizon?"),
        ("frames=many", "frames=many is wrong: expected a whole number"),
        ("frames=0", "frames=0 must be at least 1"),
        ("seed=99999999999", "seed=99999999999 must be below 2^32"),
        ("model_rate=nan", "model_rate=nan is wrong: expected a"),
        ("agent.entropy=inf", "agent.entropy=inf is wrong: expected a"),
        ("world_model.latent_dim=0", "world_model.latent_dim=0 must be at least 1"),
        ("world_model.sigma_floor=-1", "world_model.sigma_floor=-1.0 must be at least 0"),
        ("world_model.anchor=2", "world_model.anchor=2.0 must be at most 1"),
        ("recency=0.5", "recency=0.5 must be at least 1, where rows are alike"),
        ("recency=2 data=films", "recency=2.0 with data=films: recorded episodes are neither old"),
        ("actor_rate=-1", "actor_rate=-1.0 must be above 0"),
        ("frames", "expected key=value, got 'frames'"),
        ("frames=[1,", "cannot read the settings frames=[1,"),
        ("hardware.device=tpu", "hardware.device=tpu is unknown: use cpu, cuda or cuda:N"),
        ("hardware.device=cuda:99", "hardware.device=cuda:99 is not here"),
        ("hardware.num_envs=0", "hardware.num_envs=0 must be at least 1"),
        ("resume=nowhere", "resume=nowhere is not the folder of a run: it has no config.yaml"),
    ],
)
def test_mistakes_on_the_command_line(word, sentence):
    with pytest.raises(ConfigError) as caught:
        load(word.split())
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)


def test_a_run_is_resumed_with_its_own_settings(tmp_path):
    first = load(["env=walker-walk", "model_rate=1e-5", "agent.horizon=7", "run=there"])
    save(tmp_path / "config.yaml", first)
    assert read(tmp_path / "config.yaml") == first
    again = load([f"resume={tmp_path}", "frames=5000", "agent.starts=9"])
    assert (again.env, again.model_rate, again.run) == (first.env, 1e-5, "there")
    assert (again.frames, again.agent.starts, again.agent.horizon) == (5000, 9, 7)
    assert again.resume == str(tmp_path)
    with pytest.raises(ConfigError, match="env=cheetah-run cannot change when a run is resumed"):
        load([f"resume={tmp_path}", "env=cheetah-run"])
    with pytest.raises(ConfigError, match="eye=elsewhere comes too late"):
        load([f"resume={tmp_path}", "eye=elsewhere"])
    fixed = "env.task=cheetah-run", "env.action_repeat=4", "agent.kind=sac", "seed=3", "run=else"
    for word in fixed:
        with pytest.raises(ConfigError, match=f"{word} cannot change when a run is resumed: its"):
            load([f"resume={tmp_path}", word])


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("[1, 2", "cannot read the settings"),
        ("- 1", "are damaged: expected keys"),
        ("", "are damaged: the file is empty"),
        ("frame: 3", "do not fit this version: unknown key 'frame': did you mean frames?"),
    ],
)
def test_damaged_settings_file(tmp_path, text, sentence):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence) as caught:
        read(path)
    assert str(path) in str(caught.value)
    with pytest.raises(UserError, match="cannot read the settings"):
        read(tmp_path / "absent.yaml")


def test_a_command_takes_only_its_own_groups():
    from agents.evaluate import EvaluateConfig

    loaded = load(["run=there", "hardware=cpu", "episodes=3"], EvaluateConfig, "evaluate")
    assert (loaded.run, loaded.episodes, loaded.hardware.profile) == ("there", 3, "cpu")
    with pytest.raises(ConfigError, match="unknown key 'env'"):
        load(["env=cheetah-run"], EvaluateConfig, "evaluate")
    for word, sentence in (("episodes=0", "episodes=0 must be at least 1"), ("seed=-1", "seed=-1")):
        with pytest.raises(ConfigError, match=sentence):
            load(["run=there", word], EvaluateConfig, "evaluate")


@pytest.mark.parametrize(("task", "agent"), recipes())
def test_a_recipe_holds_for_its_task_and_agent_unless_words_say_otherwise(task, agent):
    path = recipes()[task, agent]
    said = OmegaConf.to_container(OmegaConf.load(path))
    assert path.read_text().startswith("# @package _global_")
    loaded = load([f"env={task}", f"agent={agent}"])
    assert _holds(asdict(loaded), said)
    assert load([f"env={task}", f"agent={agent}", "batch=7", "recency=1.5"]).recency == 1.5
    for words in ([f"env={task}", "agent=random"], ["env=reacher-hard", f"agent={agent}"]):
        other = load(words)
        assert not _holds(asdict(other), said)
    assert f"env={task} agent={agent}" in usage(TrainConfig, "train")


def _holds(values, said):
    """Whether nested values are as a recipe says."""
    return all(
        _holds(values.get(key), value) if isinstance(value, dict) else values.get(key) == value
        for key, value in said.items()
    )


def test_profiles(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *args: "A GPU")
    assert choose_profile() == ("gpu", "torch sees A GPU")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    chosen = load([]).hardware
    assert (chosen.profile, chosen.device, chosen.autocast) == ("gpu", "cuda", "bfloat16")
    assert load(["hardware=cpu"]).hardware.device == "cpu"
    assert "asked for; torch sees A GPU" in hardware.describe(load(["hardware=cpu"]).hardware)


def test_bfloat16_only_where_it_is_native(monkeypatch):
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda: False, raising=False)
    assert not native_bfloat16(torch.device("cpu"))
    assert resolve(HardwareConfig()).autocast == "float32"
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert resolve(HardwareConfig()).autocast == "bfloat16"


def test_replay_on_the_gpu_needs_one():
    with pytest.raises(ConfigError, match=r"hardware\.replay=cuda needs hardware\.device=cuda"):
        resolve(HardwareConfig(replay="cuda"))


def test_exit_codes_and_help():
    code = "import agents.config as c, agents.entry as e; e.run(lambda words: print(c.load(words)))"

    def call(word):
        words, here = [sys.executable, "-c", code, word], Path(__file__).parents[1]
        return subprocess.run(words, capture_output=True, text=True, cwd=here)

    wrong = call("env=cheeta-run")
    assert wrong.returncode == 2 and wrong.stdout == ""
    assert (
        wrong.stderr.startswith("error: unknown env=cheeta-run") and wrong.stderr.count("\n") == 1
    )
    helped = call("--help")
    assert helped.returncode == 0 and "world_model.latent_dim=32  d, " in helped.stdout


def test_settings_travel_in_the_package():
    assert (FOLDER / "train.yaml").is_file() and configs.__doc__
