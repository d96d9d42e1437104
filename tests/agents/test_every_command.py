"""Every command with every agent, every world model and every kind of environment."""

import runpy
from pathlib import Path

import pytest
from small_run import words

from aef_worldmodel.utils.checkpoint import list_checkpoints
from agents import collect, doctor, evaluate, evolve, export, probe, train
from agents.registry import AGENTS

EXAMPLES = Path(__file__).parents[2] / "examples"
NEEDS = {"sac": "stable_baselines3", "ppo": "stable_baselines3", "cmaes": "cma"}
AGENT_NAMES = ["imagination", "mpc", "sac", "ppo", "cmaes", "random", "scripted", "reinforce"]
MODELS = ["aef", "aef-center", "aef-noise", "expanded", "vae", "vae-given-h", "ae", "ae-sigreg"]
MODELS += ["random-encoder", "rssm", "rssm-gaussian", "corrected"]
PLAN = [
    "agent.plan.num_samples=8",
    "agent.plan.num_policy_trajectories=2",
    "agent.plan.num_elites=2",
    "agent.plan.iterations=1",
    "agent.plan.horizon=2",
]
CPU = ["hardware=cpu", "hardware.threads=1", "hardware.precision=float32"]
SUITE = ["env.action_repeat=50", "env.image_size=32"]  # episodes of 20 decisions
OWN = ("agent.imagination_batch", "agent.gradient_limit")
NO_SUCH_KEYS = {"reinforce": OWN, "corrected": ("world_model.hidden_dim",)}


@pytest.fixture(autouse=True, scope="module")
def examples():
    """Register the agent and the world model of the examples."""
    for name in ("own_agent.py", "own_world_model.py"):
        runpy.run_path(str(EXAMPLES / name))


def settings(run, agent="imagination", model="aef", env=("env=cartpole-swingup", *SUITE)):
    """Return the command line of a run of seconds."""
    lacking = NO_SUCH_KEYS.get(agent, ()) + NO_SUCH_KEYS.get(model, ())
    base = [w for w in words(agent) if not w.startswith(("env", "hardware=", *lacking))]
    more = PLAN if agent == "mpc" else ["agent.population=4"] if agent == "cmaes" else []
    return [
        *env,
        *base,
        *more,
        *CPU,
        f"world_model={model}",
        "frames=1600",
        "prefill=1200",
        "frames_per_update=100",
        "checkpoint_every=1400",
        f"run={run}",
    ]


def use(run, collected, *more):
    """Play, record, resume and examine a run by every command that takes one, with more words."""
    assert evaluate.main([f"run={run}", "episodes=2", "agent=random", *CPU, *more]) == 0
    exported = run.with_name("weights")
    assert export.main([f"run={run}", f"out={exported}"]) == 0
    for folder in (run, exported):
        assert evaluate.main([f"run={folder}", "episodes=2", *CPU, *more]) == 0
    played = [(folder / "evaluation" / "returns.csv").read_text() for folder in (run, exported)]
    assert played[0] == played[1]
    words = [f"run={run}", f"out={collected}", "episodes=2", "hardware.num_envs=2", *CPU]
    assert collect.main([*words, *more]) == 0
    assert train.main([f"resume={run}", "frames=2000", *more]) == 0
    assert list_checkpoints(run / "checkpoints")[-1].stem.endswith("2000")


def study(run, model, tmp_path):
    """Probe a run and evolve controllers in it."""
    small = ["updates=2", "episodes=2", "seeds=1", f"models=[{model}]"]
    assert probe.main([f"run={run}", *small, f"out={tmp_path / 'probe.csv'}", *CPU]) == 0
    assert (tmp_path / "probe.csv").read_text().count("\n") == 2
    pytest.importorskip("cma")
    tiny = ["generations=1", "population=4", "rollouts=1", "horizon=3", "decisions=3"]
    judged = ["eval_every=1", "eval_episodes=1", f"out={tmp_path / 'evolution'}"]
    assert evolve.main([f"run={run}", *tiny, *judged, *CPU]) == 0


@pytest.mark.parametrize("agent", AGENT_NAMES)
def test_every_command_with_every_agent(tmp_path, agent):
    pytest.importorskip(NEEDS.get(agent, "torch"))
    line = settings(tmp_path / "run", agent)
    assert train.main(line) == 0
    use(tmp_path / "run", tmp_path / "data")
    study(tmp_path / "run", "aef", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_command_with_every_world_model(tmp_path, model):
    assert train.main(settings(tmp_path / "run", model=model)) == 0
    use(tmp_path / "run", tmp_path / "data")
    study(tmp_path / "run", model, tmp_path)
    offline = settings(tmp_path / "offline", model=model)
    assert train.main([*offline, f"data={tmp_path / 'data'}", "frames=400", "pretrain=1"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "env",
    [
        ("env=gym:grey:Lights-v0", "env.action_repeat=1", "env.image_size=16"),
        ("env=gym:grey:Dusk-v0", "env.action_repeat=1", "env.image_size=16"),
        ("env=cheetah-run", "env.random_truncation_every=400", *SUITE),
    ],
)
def test_every_command_with_every_kind_of_environment(tmp_path, env):
    assert train.main(settings(tmp_path / "run", env=env)) == 0
    local = ["trust=true"] if env[0].startswith("env=gym:") else []
    use(tmp_path / "run", tmp_path / "data", *local)


@pytest.mark.parametrize("agent", AGENT_NAMES)
def test_doctor_examines_every_agent(tmp_path, agent, monkeypatch):
    pytest.importorskip(NEEDS.get(agent, "torch"))
    findings = list(doctor.check_run(settings(tmp_path / "run", agent)))
    assert not [str(finding) for finding in findings if finding.remedy]


def test_the_list_of_agents_is_complete():
    assert set(AGENTS.names()) == set(AGENT_NAMES)
