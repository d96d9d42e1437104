"""Plain values to dataclasses and back, and one sentence for every mistake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vehicles import Cart, HorseConfig, Needy, SteamConfig, TurbineConfig, Wheel

from aef_worldmodel.utils.config.schema import (
    ConfigError,
    build,
    check_bounds,
    field_docs,
    leaves,
    to_dict,
)


def test_values_become_a_dataclass():
    cart = build(Cart, {"wheel": {"size": 3}, "seats": 4.0, "weights": [1, 2.5], "name": 17})
    assert cart == Cart(Wheel(3.0), name="17", seats=4, weights=(1.0, 2.5))
    assert isinstance(cart.wheel.size, float) and isinstance(cart.seats, int)
    assert build(Cart, {"place": [3, "x"]}).place == (3, "x")


finite = st.floats(allow_nan=False, allow_infinity=False)
engines = st.one_of(
    st.builds(SteamConfig, pressure=st.floats(0, 1e9)),
    st.builds(TurbineConfig, blades=st.integers(-9, 9)),
    st.builds(HorseConfig, breed=st.none() | st.text()),
)
carts = st.builds(
    Cart,
    wheel=st.builds(Wheel, finite, st.sampled_from(["round", "square"])),
    engine=engines,
    spare=st.none() | engines,
    name=st.text(),
    owner=st.none() | st.text(),
    seats=st.integers(-(2**63) + 1, 2**63 - 1),
    roof=st.booleans(),
    weights=st.lists(finite).map(tuple),
    tags=st.lists(st.text()).map(tuple),
    place=st.none() | st.tuples(st.integers(0, 9), st.text()),
)


@given(carts)
def test_plain_values_round_trip(cart):
    assert build(Cart, to_dict(cart)) == cart


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({"wheel": 3}, "wheel=3 has keys of its own, for instance wheel.size=..."),
        ({"engine": [1]}, "engine=[1] has keys of its own, for instance engine.kind=..."),
        ({"whel": {"size": 1}}, "unknown key 'whel': did you mean wheel?"),
        ({"wheel": {"size": 1, "zz": 2}}, "unknown key 'wheel.zz': choose one of size, shape"),
        ({"wheel": {"size": "big"}}, "wheel.size=big is wrong: expected a number"),
        ({"wheel": {"size": True}}, "wheel.size=true is wrong: expected a number"),
        ({"wheel": {"shape": "rund"}}, "wheel.shape=rund is wrong: did you mean round?"),
        ({"seats": 1.5}, "seats=1.5 is wrong: expected a whole number"),
        ({"seats": "1,2"}, "seats=1,2 is wrong: expected a whole number"),
        ({"seats": 10**400}, "seats=1000"),
        ({"seats": 2**63}, "seats=9223372036854775808 is wrong: expected a whole number of 64"),
        ({"wheel": {"size": 10**400}}, "wheel.size=1000"),
        ({"wheel": {"size": float("nan")}}, "wheel.size=nan is wrong: expected a number of 64"),
        ({"wheel": {"size": float("inf")}}, "wheel.size=inf is wrong: expected a number of 64"),
        ({"roof": 1}, "roof=1 is wrong: expected true or false"),
        ({"name": [["a"]]}, "name=[['a']] is wrong: expected a word"),
        ({"name": None}, "name=null is wrong: expected a word"),
        ({"weights": 3}, "weights=3 is wrong: expected a list [...] of a number"),
        ({"weights": [1, "x"]}, "weights[1]=x is wrong: expected a number"),
        ({"tags": [["a"]]}, "tags[0]=['a'] is wrong: expected a word"),
        (
            {"place": [1, 2, 3]},
            "place=[1, 2, 3] is wrong: expected a list [...] of a whole number and a word or null",
        ),
        ({"engine": {"kind": "stem"}}, "unknown engine=stem: did you mean steam?"),
        ({"engine": {"kind": ["steam"]}}, "unknown engine=['steam']: did you mean steam?"),
        ({"engine": {"pressure": -1}}, "engine.pressure=-1.0 must be at least 0"),
        (
            {"engine": {"breed": "Hanoverian"}},
            "engine.breed is a key of engine=horse, not of engine=steam: leave it out, or give",
        ),
        ({"engine": {"wings": 2}}, "unknown key 'engine.wings': choose one of kind, pressure"),
        ({"spare": {"pressure": 2}}, "spare is not chosen: give spare=NAME; choose one of horse"),
    ],
)
def test_mistakes_are_named(values, sentence):
    with pytest.raises(ConfigError) as caught:
        build(Cart, values)
    assert str(caught.value).startswith(sentence)
    assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)


def test_a_value_without_default_is_asked_for():
    with pytest.raises(ConfigError, match=r"^size is not set: give size=\.\.\.$"):
        build(Needy, {})
    assert build(Needy, {"size": 1}) == Needy(1.0)


def test_a_group_with_alternatives_holds_the_one_that_is_named():
    assert build(Cart, {"engine": {"kind": "horse", "breed": "x"}}).engine == HorseConfig(breed="x")
    assert build(Cart, {"engine": {"pressure": 3}}).engine == SteamConfig(pressure=3.0)
    assert build(Cart, {"engine": {"kind": "turbine", "pressure": 3}}).engine.blades == 8
    assert build(Cart, {"spare": None}).spare is None
    assert build(Cart, {"spare": {"kind": "horse"}}).spare == HorseConfig()


def test_keys_of_all_alternatives_are_known():
    known = leaves(Cart)
    assert list(known)[:3] == ["wheel.size", "wheel.shape", "engine.kind"]
    assert {"engine.blades", "engine.breed", "spare.pressure", "name"} <= set(known)
    assert "engine" not in known and "engine.registry" not in known


def test_documentation_of_fields():
    assert field_docs(Wheel) == {"size": "Radius in metres.", "shape": "Shape of the wheel."}
    assert field_docs(Cart)["wheel"] == "Its wheel."
    assert list(field_docs(TurbineConfig)) == ["kind", "pressure", "blades"]  # inherited ones, too


def test_bounds_name_the_field_and_the_limit():
    check_bounds(Cart(), seats=(2, 2), owner=(1, None))
    for bounds, sentence in (((3, None), "at least 3"), ((0, 1), "at most 1")):
        with pytest.raises(ValueError, match=f"^seats=2 must be {sentence}$"):
            check_bounds(Cart(), seats=bounds)
