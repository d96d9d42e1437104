"""Public names resolve, and a part of the library loads only the rooms it needs."""

import subprocess
import sys

import pytest

import aef_worldmodel

LIST = "import sys; print(*(name for name in sys.modules if name.startswith('aef_worldmodel.')))"


def loaded(statement):
    """Return the rooms of the library that a fresh interpreter loads for a statement."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{LIST}"], capture_output=True, text=True, check=True
    )
    return {name.split(".")[1] for name in done.stdout.split()}


@pytest.mark.parametrize(
    ("statement", "rooms"),
    [
        ("import aef_worldmodel", set()),
        ("from aef_worldmodel.image_models.zoo import AEF", {"image_models", "autoencoders"}),
        ("from aef_worldmodel import AEF", {"image_models", "autoencoders"}),
        ("from aef_worldmodel.metrics import image_quality, regression, frechet", {"metrics"}),
        (
            "from aef_worldmodel import RecurrentWorldModel",
            {"world_models", "autoencoders", "data"},
        ),
    ],
)
def test_a_part_loads_only_the_rooms_it_needs(statement, rooms):
    assert loaded(statement) - {"nn", "utils"} == rooms


def test_every_public_name_resolves():
    for name in aef_worldmodel.__all__:
        assert getattr(aef_worldmodel, name) is not None
    assert set(aef_worldmodel.__all__) <= set(dir(aef_worldmodel))
    with pytest.raises(AttributeError, match="has no attribute 'Eye'"):
        _ = aef_worldmodel.Eye


def test_the_version_is_a_release_number():
    assert aef_worldmodel.__version__.count(".") == 2
