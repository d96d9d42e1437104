"""Words of a command line: presets, keys, types, mistakes and help."""

import random

import pytest
from vehicles import ENGINES, Cart, HorseConfig, SteamConfig, TurbineConfig

from aef_worldmodel.utils.config.cli import CommandLine, Source, split
from aef_worldmodel.utils.config.help import key_table, sections, usage
from aef_worldmodel.utils.config.schema import ConfigError, build, leaves, to_dict
from aef_worldmodel.utils.config.yaml_files import save


@pytest.fixture
def line(tmp_path):
    files = {
        "mine/wheel/big.yaml": "size: 2",
        "ours/wheel/big.yaml": "size: 1",
        "ours/wheel/odd.yaml": "shape: square",
        "ours/engine/fast.yaml": "kind: turbine\nblades: 12",
        "ours/wheel/broken.yaml": "- 1",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    sources = {"wheel": Source(lambda: ["tiny"], lambda n: {"size": 0.1} if n == "tiny" else None)}
    old = {"chairs": "chairs is now seats"}
    folders = (tmp_path / "mine", tmp_path / "ours")
    return CommandLine(Cart, folders, sources, lambda key, value: old.get(key))


def load(line, *words):
    return build(line.kind, line.compose(split(words)))


def test_presets_come_from_the_first_folder_then_the_source_then_the_registry(line):
    assert load(line, "wheel=big").wheel.size == 2
    assert load(line, "wheel=odd").wheel.shape == "square"
    assert load(line, "wheel=tiny").wheel.size == 0.1
    assert load(line, "engine=fast").engine == TurbineConfig(blades=12)
    assert load(line, "engine=horse").engine == HorseConfig()
    assert load(line, "spare=horse").spare == HorseConfig()
    assert load(line, "spare=null").spare is None
    assert line.presets("wheel") == ["big", "broken", "odd", "tiny"]
    assert line.presets("engine") == ["fast", *ENGINES]


def test_keys_change_presets_whatever_the_order(line):
    for words in (("wheel.shape=square", "wheel=big"), ("wheel=big", "wheel.shape=square")):
        assert to_dict(load(line, *words).wheel) == {"size": 2.0, "shape": "square"}
    assert load(line, "engine.pressure=3").engine == SteamConfig(pressure=3.0)
    assert load(line, "seats=1", "seats=3").seats == 3


@pytest.mark.parametrize(
    "word, value",
    [
        ("seats=1e3", 1000),
        ("seats=1_000", 1000),
        ("wheel.size=1e-4", 1e-4),
        ("roof=true", True),
        ("owner=null", None),
        ("owner='null'", "null"),
        ('owner="a b"', "a b"),
        ("name=017", "017"),
        ("name=1e-4", "1e-4"),
        ("name=true", "true"),
        ("name=", ""),
        ("name=some where/a=b's, ${seats} #1", "some where/a=b's, ${seats} #1"),
        ("name='a", "'a"),
        ("name=[a", "[a"),
        ("weights=[1,2.5]", (1.0, 2.5)),
        ("weights=[]", ()),
        ("tags=[a,'b, c',1]", ("a", "b, c", "1")),
        ("place=[3,x]", (3, "x")),
    ],
)
def test_words_become_values(line, word, value):
    found = load(line, word)
    for part in word.partition("=")[0].split("."):
        found = getattr(found, part)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("seats", "expected key=value, got 'seats'; for instance seed=1, or --help for all"),
        ("=3", "expected key=value, got '=3'"),
        ("-m seats=1,2", "-m is not supported: for several settings, run the command once each"),
        ("++seats=3", "unknown key '++seats': give seats=3"),
        ("--seats=3", "unknown key '--seats': give seats=3"),
        ("wheel=big wheel=odd", "wheel is given twice, the second time as 'odd'"),
        ("wheel=bog", "unknown wheel=bog: did you mean big?"),
        ("wheel=../wheel/big", "unknown wheel=../wheel/big: "),
        ("engine=horses", "unknown engine=horses: did you mean horse?"),
        ("engine=horse,steam", "unknown engine=horse,steam: "),
        ("whel=big", "unknown key 'whel': did you mean wheel?"),
        ("size=3", "unknown key 'size': did you mean wheel.size?"),
        ("wheel.sise=3", "unknown key 'wheel.sise': did you mean wheel.size?"),
        ("pressure=3", "unknown key 'pressure': did you mean engine.pressure or spare.pressure?"),
        ("chairs=3", "chairs is now seats"),
        ("engine=horse engine.pressure=3", "engine.pressure is a key of engine=steam or turbine"),
        ("seats=many", "seats=many is wrong: expected a whole number"),
        ("seats=", "seats=null is wrong: expected a whole number"),
        ("seats=[1,", "seats=[1, is wrong: expected a whole number"),
        ("seats=1,2", "seats=1,2 is wrong: expected a whole number; for several, run the"),
        ("seats=" + "9" * 5000, "seats=999"),
        ("tags=a", "tags=a is wrong: expected a list [...] of a word"),
        ("weights=[[1]]", "weights[0]=[1] is wrong: expected a number"),
    ],
)
def test_mistakes_are_one_sentence(line, words, sentence):
    with pytest.raises(ConfigError) as caught:
        load(line, *words.split())
    assert str(caught.value).startswith(sentence)
    assert len(str(caught.value)) < 250 and "\n" not in str(caught.value)


def test_a_group_without_presets_lists_its_keys():
    with pytest.raises(
        ConfigError, match=r"^wheel=3 has keys of its own: wheel.size, wheel.shape$"
    ):
        load(CommandLine(Cart), "wheel=3")


def test_saved_values_are_changed_by_keys_alone(line, tmp_path):
    run = tmp_path / "run"
    save(run / "config.yaml", Cart(seats=5, engine=HorseConfig(breed="x")))
    words = split([f"resume={run}", "engine.breed=y", "name=z"])
    found = build(Cart, line.change(line.saved(words, ("seats",)), words))
    assert (found.seats, found.engine, found.name) == (5, HorseConfig(breed="y"), "z")
    for word, sentence in (
        ("wheel=big", "wheel=big cannot change when a run is resumed; keys can"),
        ("seats=3", "seats=3 cannot change when a run is resumed: its replay"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            line.saved(split([f"resume={run}", word]), ("seats",))
    with pytest.raises(ConfigError, match="resume=nowhere is not the folder of a run"):
        line.saved([("resume", "nowhere")])


def test_help_lists_presets_keys_defaults_and_meanings(line):
    text = usage(line, "carts.drive")
    assert text.startswith("usage: python -m carts.drive [key=value ...]")
    assert "  wheel=big|broken|odd|tiny\n" in text and "  engine=fast|horse|steam|turbine\n" in text
    assert "  wheel.size=0.5  Radius in metres.\n" in text
    assert "  owner=null  Its owner; null for none.\n" in text and "kind" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_sections_group_keys_and_alternatives_list_what_they_add():
    found = {section.title: section for section in sections(Cart)}
    assert [key.key for key in found[""].keys][:2] == ["name", "owner"]
    assert [key.key for key in found["engine=steam"].keys] == ["engine.pressure"]
    assert [key.key for key in found["engine=turbine"].keys] == ["engine.blades"]
    assert [key.key for key in found["spare=turbine"].keys] == ["spare.pressure", "spare.blades"]
    assert "A horse." in found["engine=horse"].meaning


def test_the_table_of_keys_has_every_leaf():
    table = key_table(Cart)
    assert ("wheel.size", "0.5", "Radius in metres.") in table
    assert ("engine.breed", "null", "(engine=horse) Breed; null for any.") in table
    assert ("weights", "[1.0]", "Loads in kilograms.") in table
    kinds = {"engine.kind", "spare.kind"}
    assert {key.key for key in table} == set(leaves(Cart)) - kinds


def test_random_words_end_in_settings_or_in_one_sentence(line):
    rng = random.Random(0)
    keys = [*leaves(Cart), *line.groups(), "x", "seats.x", "engine.kind.x", "", "'", "seats "]
    values = ["1", "-1", "1e999", "9" * 400, "nan", ".nan", ".inf", "null", "true", "[", "[1,[2]]"]
    values += ["{a: 1}", "*a", "&a [*a]", "!!int x", "!!set {}", "${x}", "a,b", "'", "''", "\n", ""]
    values += ["steam", "horse", "big", "..", "../x", "\x00", "\udcff", "é", "- 1", "? x"]
    built = 0
    for _ in range(1000):
        words = [f"{rng.choice(keys)}={rng.choice(values)}" for _ in range(rng.randint(1, 3))]
        words += [rng.choice(values)] * (rng.random() < 0.1)
        try:
            assert isinstance(load(line, *words), Cart)
            built += 1
        except ConfigError as error:
            assert str(error) and "\n" not in str(error) and len(str(error)) < 400
    assert built > 40
