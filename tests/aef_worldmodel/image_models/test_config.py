"""Settings of `python -m aef_worldmodel.fit`."""

import pytest

from aef_worldmodel.image_models.config import FitConfig, build, field_docs, load
from aef_worldmodel.utils.errors import UserError


def test_every_setting_is_documented_and_words_become_values():
    docs = field_docs(FitConfig)
    assert set(docs) == set(vars(FitConfig())) and all(docs.values())
    config = load(["latent_dim=2", "rate=3e-4", "prior=maf", "networks=null", "run=17"])
    assert (config.latent_dim, config.rate, config.prior) == (2, 3e-4, "maf")
    assert config.networks is None and config.run == "17"
    assert build(FitConfig, vars(config)) == config


REFUSED = {
    "model=aef-centre": "model=aef-centre is unknown: did you mean aef-center",
    "latent=2": "unknown key 'latent': did you mean latent_dim",
    "latent_dim=two": "latent_dim=two is wrong: expected a whole number",
    "latent_dim=0": "latent_dim=0 must be at least 1",
    "rate=-1": "rate=-1.0 must be above 0",
    "rate=nan": "rate=nan is wrong: expected a number",
    "log_scale_bound=0": "log_scale_bound=0.0 must be above 0",
    "noise=-1": "noise=-1.0 must be at least 0",
    "rate=fast": "rate=fast is wrong: expected a number",
    "digits": "expected key=value, got 'digits'",
    "prior=nsf": "prior=nsf is unknown: choose one of maf",
    "resume=nowhere": "resume=nowhere is not the folder of a run",
    "model=vae core_flow=maf": "core_flow=maf needs an AEF",
    "model=ae prior=maf": "model=ae has no prior",
    "model=iwae noise=0.1": "model=iwae has no denoising version",
    "device=tpu": "device=tpu is wrong: did you mean cpu",
}


@pytest.mark.parametrize("given", REFUSED)
def test_a_wrong_word_is_one_sentence(given):
    with pytest.raises(UserError, match=REFUSED[given]) as caught:
        load(given.split())
    assert "\n" not in str(caught.value)


def test_help_names_every_key(capsys):
    with pytest.raises(SystemExit):
        load(["--help"])
    printed = capsys.readouterr().out
    assert all(f"  {name}=" in printed for name in vars(FitConfig()))
