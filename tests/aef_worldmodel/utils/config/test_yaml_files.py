"""Values of YAML files: the types that are read, and that everything written is read again."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vehicles import Cart, HorseConfig

from aef_worldmodel.utils.config.yaml_files import check_sealed, parse, read, read_values, save
from aef_worldmodel.utils.errors import UserError

NUMBERS = {
    "1e-4": 1e-4,
    "-2E5": -2e5,
    "1.5": 1.5,
    "1.": 1.0,
    ".5": 0.5,
    "+.5e+1": 5.0,
    "100_000": 100_000,
    "-7": -7,
    "0": 0,
    ".inf": math.inf,
}
WORDS = ["017", "0x10", "0b1", "12:30", "1:2:3", "2026-01-01", "yes", "off", "y", "1e", "e5", "1,2"]
WORDS += ["${seed}", "${oc.env:HOME}", "=", "<<", "inf", "nan", "1.2.3", "_1", "-", "."]


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers(text):
    value = parse(text)
    assert value == NUMBERS[text] and type(value) is type(NUMBERS[text])


@pytest.mark.parametrize("text", WORDS)
def test_words_stay_words(text):
    assert parse(f"- {text}") == ([text] if text != "-" else [[None]])


def test_null_bool_lists_and_quotes():
    text = "[null, ~, true, False, 'true', \"1\", [a, b], {c: 1}]"
    assert parse(text) == [None, None, True, False, "true", "1", ["a", "b"], {"c": 1}]


@pytest.mark.parametrize(
    "text",
    [
        "[1,",
        "{",
        "!!python/object:os.system {}",
        "a: b: c",
        "'",
        "!!int x",
        "[" * 5000,
        "\x00",
        "*a",
    ],
)
def test_a_text_that_is_not_yaml(text):
    with pytest.raises(ValueError):
        parse(text)


plain = st.text() | st.sampled_from([*NUMBERS, *WORDS, "null", "", "~", "a: b", "# no", "\udcff"])


@given(
    name=plain, owner=st.none() | plain, tags=st.lists(plain), sizes=st.lists(st.floats(0, 1e300))
)
def test_what_is_saved_is_read_again(tmp_path_factory, name, owner, tags, sizes):
    path = tmp_path_factory.getbasetemp() / "cart.yaml"
    engine = HorseConfig(breed=name)
    cart = Cart(name=name, owner=owner, tags=tuple(tags), weights=tuple(sizes), engine=engine)
    save(path, cart)
    assert read(path, Cart) == cart


def test_nothing_is_interpolated(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    cart = Cart(name="${oc.env:SECRET}", owner="${seats}")
    save(tmp_path / "cart.yaml", cart)
    assert read(tmp_path / "cart.yaml", Cart) == cart
    (tmp_path / "cart.yaml").write_text("name: ${oc.env:SECRET}\nowner: $SECRET\n")
    found = read(tmp_path / "cart.yaml", Cart)
    assert (found.name, found.owner) == ("${oc.env:SECRET}", "$SECRET")


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("[1, 2", "cannot read the settings"),
        ("- 1", "are damaged: expected keys"),
        ("", "are damaged: the file is empty"),
        ("\x80", "cannot read the settings"),
        ("seat: 3", "do not fit this version: unknown key 'seat': did you mean seats?"),
        ("seats: &a [*a]", r"cannot read the settings .*aliases \(\*name\) are not supported"),
        ("[1]: 2", "cannot read the settings"),
        ("1: 2", "do not fit this version: unknown key '1'"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text, sentence):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=sentence) as caught:
        read(path, Cart)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_an_absent_file_is_named_and_an_empty_preset_is_empty(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the settings .*absent"):
        read(tmp_path / "absent.yaml", Cart)
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_values(tmp_path / "empty.yaml") == {}


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="could not write"):
        save(tmp_path / "file" / "config.yaml", Cart())


def test_a_file_that_was_cut_anywhere_is_refused(tmp_path):
    path = tmp_path / "cart.yaml"
    save(path, Cart())
    whole = path.read_bytes()
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut short|empty|cannot read"):
            read(path, Cart)
    path.write_bytes(whole.replace(b"\n", b"\r\n"))  # as an editor of Windows leaves it
    assert read(path, Cart) == Cart()


def test_a_file_without_a_seal_is_read_unless_it_must_have_one(tmp_path):
    path = tmp_path / "cart.yaml"
    save(path, Cart())
    check_sealed(path)
    check_sealed(tmp_path / "absent.yaml")
    path.write_text(path.read_text().partition("\n")[2])  # as earlier versions wrote it
    assert read(path, Cart) == Cart()
    with pytest.raises(UserError, match=r"cart\.yaml were cut short or changed"):
        check_sealed(path)
