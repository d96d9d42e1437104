"""Agreement of gradients: against closed forms, and of a run under several settings."""

import pytest
import torch

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table
from benchmarks import gradients


def test_agreement_of_gradients():
    same, other = torch.tensor([[1.0, 0], [5, 0]]), torch.tensor([[1.0, 0], [0, 2], [-3, 0]])
    assert gradients.agreement(same) == pytest.approx(1)
    assert gradients.agreement(other) == pytest.approx(-1 / 3)


def test_settings_meet_the_same_states_and_noise(finished, tmp_path):
    out = tmp_path / "rows.csv"
    compared = "[own,agent.gradient_limit=3,agent.gradient_limit=0.1 agent.horizon=2]"
    asked = [f"run={finished}", "batches=3", f"settings={compared}", f"out={out}"]
    assert gradients.main(asked) == 0
    own, equal, changed = Table(out).rows
    for name in gradients.MEASURES:
        assert own[name] == equal[name]  # the run's own limit is 3
    assert float(own["direction"]) == pytest.approx(1)
    assert -1 <= float(changed["direction"]) < 0.999
    assert 0 < float(own["length"]) <= float(own["longest"])
    assert own["run"] == "small" and own["command"].startswith("python -m benchmarks.gradients")


def test_unknown_settings_are_refused_before_anything_is_computed(finished, tmp_path):
    out = tmp_path / "rows.csv"
    with pytest.raises(UserError, match=r"agent.gradient=reinforce is no longer a key"):
        gradients.main([f"run={finished}", "settings=[agent.gradient=reinforce]", f"out={out}"])
    assert not out.exists()
