"""Settings of runs: the right value in the right place, and one sentence for every mistake."""

import dataclasses
import random
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest
import torch

import envs
from aef_worldmodel.data.episodes import write_info
from aef_worldmodel.utils.config.help import key_table, sections
from aef_worldmodel.utils.config.schema import (
    ConfigError,
    build,
    field_docs,
    leaves,
    parts,
    to_dict,
)
from aef_worldmodel.utils.errors import UserError
from agents.config import hardware
from agents.config.hardware import HardwareConfig, choose_profile, native_bfloat16, resolve
from agents.config.options import PEERS, PRESETS
from agents.config.sections import EmaConfig, EnvConfig, RateConfig, ReplayConfig
from agents.config.train import TrainConfig, load, read, save
from agents.evaluate import EvaluateConfig


def every_part(kind):
    yield kind
    for hinted in get_type_hints(kind).values():
        for part in parts(hinted).values():
            yield from every_part(part)


@pytest.mark.parametrize("kind", list(every_part(TrainConfig)), ids=lambda kind: kind.__name__)
def test_every_setting_is_documented(kind):
    docs = field_docs(kind)
    assert list(docs) == [field.name for field in fields(kind)] and all(docs.values())


def test_defaults_are_those_of_the_dataclasses():
    loaded = load([])
    assert to_dict(loaded) | {"hardware": None} == to_dict(TrainConfig()) | {"hardware": None}
    assert loaded.env.task == "cheetah-run" and loaded.agent.kind == "imagination"
    assert loaded.hardware.threads >= 1 and loaded.hardware.precision != "auto"


def test_keys_are_as_many_as_a_reader_can_hold():
    usual = {f"{group}={getattr(TrainConfig(), group).kind}" for group in ("agent", "world_model")}
    keys = [s.keys for s in sections(TrainConfig) if not s.choice or s.choice in usual]
    assert sum(map(len, keys)) <= 62
    assert len({key.key for key in key_table(TrainConfig)}) <= 74


def test_words_change_values():
    words = ["env=walker-walk", "env.action_repeat=4", "world_model=vae", "frames=2e4"]
    words += ["agent.horizon=5", "hardware.threads=3", "run=some where/a=b's", "lr.model=1e-5"]
    words += ["log=[csv,terminal]", "data=${HOME}", "replay.recency=null"]
    loaded = load(words)
    assert loaded.env == EnvConfig("walker-walk", 4)
    assert (loaded.world_model.autoencoder, loaded.world_model.pixel_weight) == ("vae", 0.1)
    assert (loaded.frames, loaded.agent.horizon, loaded.lr.model) == (20_000, 5, 1e-5)
    assert (loaded.hardware.threads, loaded.run) == (3, "some where/a=b's")
    assert (loaded.log, loaded.data, loaded.replay.recency) == (
        ("csv", "terminal"),
        "${HOME}",
        None,
    )
    assert load(["run=017"]).run == "017" and load(["run=null"]).run is None


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(PRESETS.glob("*/*.yaml")) if path.parent.name != "study"],
    ids=lambda path: path.stem,
)
def test_every_preset_loads_and_says_something(path, monkeypatch):
    monkeypatch.setattr(hardware, "_device", torch.device)
    loaded = load([f"{path.parent.name}={path.stem}", "hardware.precision=float32"])
    assert isinstance(loaded, TrainConfig)


def test_every_task_works_with_or_without_a_preset():
    files = {path.stem for path in (PRESETS / "env").glob("*.yaml")}
    assert files - {"car-racing"} <= set(envs.tasks())
    assert load(["env=car-racing"]).env.task == "gym:CarRacing-v3?crop=0,12,0,0"
    assert load(["env=cartpole-swingup"]).env == EnvConfig(
        "cartpole-swingup", 4, random_truncation_every=400
    )
    elsewhere = ["gym:CartPole-v1", "dm_control:cheetah-run", "gym:ALE/Pong-v5?crop=0,1,0,0"]
    for task in [*sorted(set(envs.tasks()) - files), *elsewhere]:
        assert load([f"env={task}"]).env == EnvConfig(task)


def test_world_models_are_presets_kinds_or_autoencoders():
    assert load(["world_model=recurrent"]).world_model == TrainConfig().world_model
    assert load(["world_model=aef-corner"]).world_model.autoencoder == "aef-corner"  # no preset


def test_agents_are_names_of_the_registry():
    planner = load(["agent=mpc", "agent.plan.horizon=3"]).agent
    assert (planner.kind, planner.plan.horizon) == ("mpc", 3)
    assert load(["agent=random"]).agent.kind == "random"
    assert build(TrainConfig, to_dict(TrainConfig(agent=planner))).agent == planner
    known = leaves(TrainConfig)
    assert {"agent.imagination_batch", "agent.plan.num_samples", "agent.population"} <= set(known)


def test_presets_of_the_current_folder_come_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "configs/env/cartpole-swingup.yaml": "task: cartpole-swingup\naction_repeat: 8",
        "configs/agent/far.yaml": "kind: mpc\nhorizon: 40\nplan: {horizon: 9}",
        "configs/lr/low.yaml": "model: 1e-5",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    loaded = load(["env=cartpole-swingup", "agent=far", "lr=low"])
    assert (loaded.env.action_repeat, loaded.env.random_truncation_every) == (8, None)
    assert (loaded.agent.kind, loaded.agent.horizon, loaded.agent.plan.horizon) == ("mpc", 40, 9)
    assert loaded.lr == RateConfig(model=1e-5)


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("env=cheeta-run", "unknown env=cheeta-run: did you mean cheetah-run"),
        (
            "env=CartPole-v1",
            "env=CartPole-v1 is the name of a Gymnasium environment: give env=gym:",
        ),
        ("env.task=walker-walk", "unknown key 'env.task': give env=walker-walk"),
        ("env=a env=b", "unknown env=a"),
        ("env=cheetah-run env=walker-walk", "env is given twice, the second time as 'walker-walk'"),
        ("world_model=va", "unknown world_model=va: did you mean vae"),
        ("world_model.autoencoder=va", "unknown world_model.autoencoder=va: did you mean vae"),
        ("world_model.networks=pach", "unknown world_model.networks=pach: did you mean patch?"),
        ("agent=mpcc", "unknown agent=mpcc: did you mean mpc?"),
        ("agent.kind=mpc", "unknown key 'agent.kind': give agent=mpc"),
        ("agent=random agent.horizon=3", "agent.horizon is a key of agent="),
        ("evn=cheetah-run", "unknown key 'evn': did you mean env"),
        ("latent_dim=3", "unknown key 'latent_dim': did you mean world_model.latent_dim?"),
        ("agent.horizn=3", "unknown key 'agent.horizn': did you mean agent.horizon"),
        ("hardware=tpu", "unknown hardware=tpu: did you mean gpu"),
        ("lr=1e-3", "unknown key 'lr': give lr.model=1e-3"),
        ("ema=1e-3", "ema=1e-3 has keys of its own: ema.model, ema.actor, ema.critic"),
        ("steps=1000", "unknown key 'steps': give frames=1000"),
        ("total_timesteps=1000", "unknown key 'total_timesteps': give frames=1000"),
        ("num_frames=1000", "unknown key 'num_frames': give frames=1000"),
        ("batch_size=4", "unknown key 'batch_size': give replay.batch_size=4"),
        ("gamma=0.9", "unknown key 'gamma': give agent.discount=0.9"),
        ("num_envs=4", "unknown key 'num_envs': give hardware.num_envs=4"),
        ("device=cuda", "unknown key 'device': give hardware.device=cuda"),
        ("task=walker-walk", "unknown key 'task': give env=walker-walk"),
        ("env_id=x", "unknown key 'env_id': give env=x"),
        ("task=CartPole-v1", "unknown key 'task': give env=gym:CartPole-v1"),
        ("env=CartPole-v1", "is the name of a Gymnasium environment: give env=gym:CartPole-v1"),
        ("env=carracing", "is the name of a Gymnasium environment: give env=gym:CarRacing-v3"),
        ("env=ALE/Tennis-v5", "give env=gym:MODULE:ALE/Tennis-v5 with the module"),
        (
            "env=Tennis",
            "gym:MODULE:ID one that a module registers, module:Class a task of your own",
        ),
        ("model=vae", "unknown key 'model': give world_model=vae"),
        ("logdir=here", "unknown key 'logdir': give run=here"),
        ("seed=1,2,3", "seed=1,2,3 is wrong: expected a whole number; for several, write a study"),
        ("seed=1,2,3", "and run python -m agents.study FILE.yaml (docs/how-to/study.md)"),
        ("seed=[1,2]", "seed=[1,2] is wrong: expected a whole number; for several, write a study"),
        ("env=cheetah-run,walker-walk", "for several, write a study"),
        ("env.obs=pixels,proprio", "for several, write a study"),
        ("-m seed=1,2", "-m is not supported: for several settings, write a study"),
        ("--steps=1000", "unknown key 'steps': give frames=1000"),
        ("frames=many", "frames=many is wrong: expected a whole number"),
        ("frames=1e400", "frames=inf is wrong: expected a whole number"),
        ("frames=0", "frames=0 must be at least 1"),
        ("frames=[1,", "frames=[1, is wrong: expected a whole number"),
        ("seed=99999999999", "seed=99999999999 must be at most 4294967295"),
        ("lr.model=nan", "lr.model=nan is wrong: expected a number"),
        ("lr.model=" + "9" * 400, "lr.model=999"),
        ("lr.actor=-1", "lr.actor=-1.0 must be above 0"),
        ("lr.actor=3", "lr.actor=3.0 must be at most 1"),
        ("agent.entropy=inf", "agent.entropy=inf is wrong: expected a"),
        ("world_model.latent_dim=0", "world_model.latent_dim=0 must be at least 1"),
        ("world_model.width=1e9", "world_model.width=1000000000 must be at most"),
        ("world_model.sigma_floor=-1", "world_model.sigma_floor=-1.0 must be at least 0"),
        ("world_model.anchor=2", "world_model.anchor=2.0 must be at most 1"),
        ("env.image_size=10000", "env.image_size=10000 must be at most 1024"),
        ("env.action_repeat=0", "env.action_repeat=0 must be at least 1"),
        ("env.random_truncation_every=2", "env.random_truncation_every=2 must be above env.action"),
        ("replay.batch_size=1e9", "replay.batch_size=1000000000 must be at most"),
        ("replay.sequence_length=1", "replay.sequence_length=1 must be at least 2"),
        ("replay.recency=0.5", "replay.recency=0.5 must be at least 1"),
        (
            "env=cheetah-run replay.recency=2 data=films",
            "replay.recency=2.0 with data=films: recorded episodes are",
        ),
        ("run=[[a]] log=[[a]]", "log[0]=['a'] is wrong: expected a word"),
        ("log=csv", "log=csv is wrong: expected a list [...] of a word"),
        ("frames", "expected key=value, got 'frames'"),
        ("hardware.device=tpu", "hardware.device=tpu is unknown: use cpu, cuda or cuda:N"),
        ("hardware.device=cuda:99", "hardware.device=cuda:99 is not here"),
        ("hardware.num_envs=0", "hardware.num_envs=0 must be at least 1"),
        ("resume=nowhere", "resume=nowhere is not the folder of a run: it has no config.yaml"),
        ("batch=4", "batch=4 is now replay.batch_size=4"),
    ],
)
def test_mistakes_on_the_command_line(words, sentence):
    with pytest.raises(ConfigError) as caught:
        load(words.split())
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_random_words_end_in_settings_or_in_one_sentence():
    rng = random.Random(1)
    keys = [
        *leaves(TrainConfig),
        "env",
        "world_model",
        "agent",
        "lr",
        "hardware",
        "resume",
        "batch",
    ]
    values = ["1", "0", "1e-4", "1e9", "-1", "9" * 400, "nan", "null", "true", "[1,[2]]", "{a: 1}"]
    values += ["cpu", "mpc", "sac", "vae", "walker-walk", "gym:x", "${x}", "", "\n", "é", "a" * 999]
    built = 0
    for _ in range(300):
        words = [f"{rng.choice(keys)}={rng.choice(values)}" for _ in range(rng.randint(1, 2))]
        try:
            built += isinstance(load(["hardware.precision=float32", *words]), TrainConfig)
        except ConfigError as error:
            assert "\n" not in str(error) and len(str(error)) < 500
    assert built > 5


def test_a_run_is_resumed_with_its_own_settings(tmp_path):
    first = load(["env=walker-walk", "lr.model=1e-5", "agent.horizon=7", "run=there"])
    save(tmp_path / "config.yaml", first)
    assert read(tmp_path / "config.yaml") == first
    again = load([f"resume={tmp_path}", "frames=5000", "agent.imagination_batch=9"])
    assert (again.env, again.lr, again.run) == (first.env, RateConfig(model=1e-5), "there")
    assert (again.frames, again.agent.imagination_batch, again.agent.horizon) == (5000, 9, 7)
    assert again.resume == str(tmp_path)
    fixed = "env.task=cheetah-run", "env.action_repeat=4", "agent.kind=sac", "seed=3", "run=else"
    for word in fixed:
        with pytest.raises(ConfigError, match=f"{word} cannot change when a run is resumed: its"):
            load([f"resume={tmp_path}", word])
    for word, sentence in (
        ("env=cheetah-run", "env=cheetah-run cannot change when a run is resumed"),
        ("init_autoencoder_from=elsewhere", "init_autoencoder_from=elsewhere comes too late"),
        ("data=films", "data=films cannot be given to a run that acts"),
        ("batch=4", "batch=4 is now replay.batch_size=4"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            load([f"resume={tmp_path}", word])
    assert load(["resume=null"]).resume is None


def test_a_damaged_settings_file_is_named(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("frame: 3")
    with pytest.raises(UserError, match="do not fit this version: unknown key 'frame'") as caught:
        read(path)
    assert str(path) in str(caught.value)
    path.write_text("lr: {model: 0}")
    with pytest.raises(UserError, match=r"lr\.model=0\.0 must be above 0"):
        read(path)


def test_the_frames_before_learning_and_what_leaves_none():
    config = load(["hardware.num_envs=8", "prefill=100", "replay.sequence_length=16"])
    assert config.frames_before_learning == 16 * 8 * 2
    load([]).check_learns()
    for words, sentence in (
        (["frames=4000"], "frames=4000 end before learning begins, after 4000 frames"),
        (["replay.capacity=100", "hardware.num_envs=8"], "give 128 or more"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            load(words).check_learns()
    dataclasses.replace(load(["frames=4000"]), data="films").check_learns()


@pytest.mark.parametrize(
    "make",
    [
        lambda: EnvConfig(image_size=0),
        lambda: EnvConfig(samples_per_pixel=1000),
        lambda: RateConfig(critic=0.0),
        lambda: EmaConfig(model=1.5),
        lambda: EmaConfig(actor=-0.1),
        lambda: ReplayConfig(capacity=0),
        lambda: HardwareConfig(threads=0),
    ],
)
def test_dataclasses_refuse_nonsense_in_python_too(make):
    with pytest.raises(ValueError, match="must be"):
        make()


def test_hardware_presets(monkeypatch):
    assert load(["hardware=cpu"]).hardware.device == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *args: "A GPU")
    assert choose_profile() == ("gpu", "torch sees A GPU")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    for words in ([], ["hardware=auto"], ["hardware=gpu"]):
        chosen = load(words).hardware
        assert (chosen.device, chosen.num_envs, chosen.precision) == ("cuda", 64, "bfloat16")
    assert load(["hardware=cpu"]).hardware.device == "cpu"
    assert hardware.describe(load(["hardware=cpu"]).hardware).startswith("cpu (torch sees A GPU), ")


def test_bfloat16_only_where_it_is_native(monkeypatch):
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda: False, raising=False)
    assert not native_bfloat16(torch.device("cpu"))
    assert resolve(HardwareConfig()).precision == "float32"
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert resolve(HardwareConfig()).precision == "bfloat16"


def test_exit_codes_and_help():
    code = "from agents.config.train import load; from aef_worldmodel.utils.command import "
    code += "run_command; run_command(lambda words: print(load(words)))"

    def call(word):
        words, here = [sys.executable, "-c", code, word], Path(__file__).parents[3]
        return subprocess.run(words, capture_output=True, text=True, cwd=here)

    wrong = call("env=cheeta-run")
    assert wrong.returncode == 2 and wrong.stdout == "" and wrong.stderr.count("\n") == 1
    assert wrong.stderr.startswith("error: unknown env=cheeta-run")
    helped = call("--help")
    assert helped.returncode == 0 and "world_model.latent_dim=32  d, " in helped.stdout
    assert "  hardware=cpu|gpu|auto\n" in helped.stdout


def test_a_command_takes_only_its_own_groups():
    from agents.evaluate import EvaluateConfig

    loaded = load(["run=there", "hardware=cpu", "episodes=3"], EvaluateConfig, "evaluate")
    assert (loaded.run, loaded.episodes, loaded.hardware.device) == ("there", 3, "cpu")
    assert load(["run=x", "agent=mpc"], EvaluateConfig, "evaluate").agent.kind == "mpc"
    with pytest.raises(ConfigError, match="unknown key 'env'"):
        load(["env=cheetah-run"], EvaluateConfig, "evaluate")
    for word, sentence in (("episodes=0", "episodes=0 must be at least 1"), ("seed=-1", "seed=-1")):
        with pytest.raises(ConfigError, match=sentence):
            load(["run=there", word], EvaluateConfig, "evaluate")


def test_hints_for_words_of_other_libraries_are_keys_of_the_command():
    known = {*leaves(TrainConfig), "env", "world_model", "agent"}
    assert set(PEERS.values()) <= known and not set(PEERS) & set(leaves(TrainConfig))
    for word in ("steps=1000", "task=cheetah-run", "lr=1e-4"):
        with pytest.raises(ConfigError) as refusal:
            load([word], EvaluateConfig, "evaluate")
        key = word.partition("=")[0]
        assert str(refusal.value).startswith(f"unknown key '{key}': choose one of ")


def test_recorded_episodes_bring_their_environment(tmp_path):
    recorded = EnvConfig("walker-walk", action_repeat=4, image_size=32)
    write_info(tmp_path, {"env": to_dict(recorded)})
    assert load([f"data={tmp_path}"]).env == recorded
    changed = load([f"data={tmp_path}", "env.samples_per_pixel=4"]).env
    assert changed == dataclasses.replace(recorded, samples_per_pixel=4)
    assert load([f"data={tmp_path}", "env=cheetah-run"]).env == EnvConfig()
    write_info(tmp_path, {"env": to_dict(EnvConfig("gym:no_package:Task-v0"))})
    with pytest.raises(UserError, match=r"info\.json names env\.task=.* give trust=true"):
        load([f"data={tmp_path}"])
    assert load([f"data={tmp_path}", "trust=true"]).env.task == "gym:no_package:Task-v0"
    with pytest.raises(UserError, match=f"data={tmp_path / 'no'} holds no recorded episodes"):
        load([f"data={tmp_path / 'no'}"])
