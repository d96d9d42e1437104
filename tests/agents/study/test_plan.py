"""What a study's file may say, and the trainings it asks for."""

import pytest
import yaml
from study_parts import VALUES, leave, planned, study

from aef_worldmodel.utils.config.schema import ConfigError
from aef_worldmodel.utils.errors import UserError
from agents.config.options import PRESETS
from agents.study.plan import check_owner, grid, known_studies, parse_study, read_study


def test_the_grid_is_every_arm_on_every_task_seed_by_seed(tmp_path):
    runs = planned(tmp_path)
    assert [run.name for run in runs[:5]] == [
        "aef cartpole-swingup 0",
        "rssm cartpole-swingup 0",
        "aef cheetah-run 0",
        "rssm cheetah-run 0",
        "aef cartpole-swingup 1",
    ]
    assert len({run.folder for run in runs}) == len(runs) == 8
    kinds = {(run.arm, run.config.world_model.kind, run.config.env.task) for run in runs}
    assert ("rssm", "rssm", "cheetah-run") in kinds and len(kinds) == 4
    assert {run.config.seed for run in runs} == {0, 1}
    assert all(run.config.eval.every == 5_000 for run in runs)


def test_a_list_of_arms_names_world_models(tmp_path):
    assert study(arms=["vae", "rssm"]).arms == {
        "vae": ("world_model=vae",),
        "rssm": ("world_model=rssm",),
    }


@pytest.mark.parametrize("name", known_studies())
def test_every_study_that_is_here_can_be_started(name, tmp_path):
    runs = grid(read_study(name), tmp_path)
    sizes = {"small": 24, "autoencoders": 80, "likelihood": 36, "suite": 40, "development": 12}
    assert len(runs) == sizes[name]


def test_every_arm_of_this_repository_is_a_preset():
    for name in ("aef", "expanded", "vae", "vae-given-h", "ae", "ae-sigreg", "aef-noise", "rssm"):
        assert (PRESETS / "world_model" / f"{name}.yaml").is_file()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"arms": ["vea"]}, "arm vea of study tiny: unknown world_model=vea: did you mean"),
        ({"tasks": ["cheetah-rum"]}, "unknown env=cheetah-rum: did you mean"),
        ({"arms": {"a/b": []}}, "arm a/b: a name is made of letters"),
        ({"arms": {"a": ["seed=3"]}}, "arms: a gives seed, which the study gives"),
        ({"words": ["frames=3"]}, "words gives frames, which the study gives"),
        ({"words": ["frames"]}, "expected key=value"),
        ({"arms": 3}, "arms=3 must be a list of names"),
        ({"seeds": [1, 2, 1]}, "seeds names 1 twice"),
        ({"seeds": "x"}, "seeds=x must be a number of seeds"),
        ({"seeds": [True]}, "must be a number of seeds"),
        ({"tasks": ["cheetah-run", "cheetah-run"]}, "tasks names cheetah-run twice"),
        ({"seeds": 0}, "the study has no runs"),
        ({"arms": []}, "the study has no runs"),
        ({"tasks": None}, "the study has no runs"),
        ({"tasks": "cheetah-run"}, "tasks: cheetah-run must be a list"),
        ({"frames": 0}, "frames=0 must be a whole number"),
        ({"frames": 1_000}, "frames=1000 end before learning begins"),
        ({"scale": 0}, "scale=0.0 must be above 0"),
        ({"thresholds": {"cheetah-run": "high"}}, "thresholds: cheetah-run=high must be a number"),
        ({"at": [20_000]}, "at: 20000 must be a whole number from 1 to frames=10000"),
        ({"at": [True]}, "at: true must be a whole number"),
        ({"groups": {"a": ["walker-walk"]}}, "groups: a: walker-walk is not in tasks"),
        ({"groups": {"a": "cheetah-run"}}, "groups: a: cheetah-run must be a list"),
        ({"thresholds": [3]}, "must be names with values"),
        ({"seed": 3}, "unknown key seed: did you mean seeds"),
    ],
)
def test_a_wrong_study_is_one_sentence(changes, sentence, tmp_path):
    with pytest.raises(ConfigError) as caught:
        planned(tmp_path, **changes)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_a_study_is_found_in_the_current_folder_or_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs" / "study").mkdir(parents=True)
    (tmp_path / "configs" / "study" / "mine.yaml").write_text(yaml.safe_dump(VALUES))
    found = read_study("mine")
    assert found == study().__class__(**{**vars(study()), "name": "mine"})
    assert read_study("configs/study/mine.yaml") == found
    with pytest.raises(ConfigError, match="unknown study mime: did you mean"):
        read_study("mime")
    (tmp_path / "broken.yaml").write_text("tasks: [")
    with pytest.raises(UserError, match="cannot read the settings"):
        read_study("broken.yaml")
    (tmp_path / "other.yaml").write_text("tasks: 3\n")
    with pytest.raises(ConfigError, match=r"other.yaml: tasks: 3 must be a list"):
        read_study("other.yaml")


def test_a_folder_of_another_study_is_refused(tmp_path):
    first = planned(tmp_path)[0]
    check_owner(first)
    leave(first, 0)
    check_owner(first)
    longer, *_ = planned(tmp_path, frames=20_000)
    check_owner(longer)  # more frames continue the same run
    other, *_ = planned(tmp_path, words=["hardware=cpu", "lr.model=1e-4", "eval.every=5000"])
    with pytest.raises(
        UserError, match=r"holds a run of another study: lr.model=0.0008, not 0.0001"
    ):
        check_owner(other)


def test_own_runs_need_no_grid():
    alone = parse_study("own", {"frames": 5, "runs": {"mine": ["runs/a", "runs/b"]}})
    assert alone.runs == {"mine": ("runs/a", "runs/b")} and not alone.arms
