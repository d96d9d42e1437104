"""Names that stand for classes: found in a package, registered by anyone, suggested if misspelt."""

import sys

import pytest

from aef_worldmodel.utils.registry import Registry, suggest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of one module, which registers "late" with the registry that it is given."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "late.py").write_text("import shelf\nshelf.REGISTRY.register('late')(object)\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "shelf"]:
        del sys.modules[name]


def made(package):
    import shelf

    shelf.REGISTRY = Registry("thing", "shelf")
    return shelf.REGISTRY


def test_a_new_file_is_found_by_itself(package):
    registry = made(package)
    registry.register("early")(int)
    assert registry["early"] is int and "shelf.late" not in sys.modules
    assert registry["late"] is object and registry.names() == ["early", "late"]


def test_a_broken_file_is_named_at_every_look_up(package):
    registry = made(package)
    (package / "broken.py").write_text("import absent_module")
    for _ in range(2):
        with pytest.raises(ImportError, match="absent_module"):
            registry.names()


def test_a_name_is_taken_once_and_an_unknown_one_is_answered():
    registry = Registry("engine")
    registry.register("steam")(int)
    registry.register("steam")(int)
    with pytest.raises(ValueError, match="engine 'steam' is registered already"):
        registry.register("steam")(float)
    with pytest.raises(ValueError, match=r"^unknown engine 'stem': did you mean steam\?$"):
        registry["stem"]
    assert "steam" in registry and "x" not in registry


def test_suggestions_are_few():
    known = [f"key_{i}" for i in range(50)]
    assert suggest("key_5x", known).count("key_") <= 3
    assert suggest("zzz", known) == f"choose one of {', '.join(known[:12])} and 38 more"
    assert suggest("a" * 10**6, known).startswith("choose one of key_0")
