"""Every third-party import is declared in pyproject.toml, where it is needed."""

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = {"aef_worldmodel", "agents", "envs", "configs", "benchmarks", "examples"}
OWN |= {path.stem for path in (ROOT / "tests" / "helpers").glob("*.py")}
OWN |= {"models", "shelf"}  # of the checkout given to benchmarks/authors.py; made by a test
DISTRIBUTIONS = {  # where the name of the import and that of the package differ
    "Box2D": "gymnasium",
    "PIL": "pillow",
    "imageio_ffmpeg": "imageio",
    "sklearn": "scikit-learn",
    "warp": "warp-lang",
    "yaml": "pyyaml",
}
DYNAMIC = ("import_module", "importorskip", "require")  # functions that import what they are given
NEEDS_EXTRA = {  # modules that need an extra as soon as they are imported
    "aef_worldmodel/sb3.py": "sb3",
    "agents/latent_envs.py": "sb3",
    "envs/sb3.py": "sb3",
}


def normal(name: str) -> str:
    """Return a distribution's name as package indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(extra: str | None = None) -> dict[str, str]:
    """Return distribution -> requirement of the core or of one extra."""
    extras = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] if extra is None else extras[extra]
    return {normal(re.split(r"[\[<>=;! ]", line)[0]): line for line in lines}


CORE = set(declared())
TRAIN = CORE | set(declared("train"))
EVERYTHING = CORE.union(*(declared(extra) for extra in PROJECT["optional-dependencies"]))
PROJECT_NAME = normal(PROJECT["name"])


def third_party(path: Path) -> tuple[set[str], set[str]]:
    """Return the distributions that a file imports at once, and those that it imports later."""
    at_once, later = set(), set()

    def visit(node: ast.AST, inside: bool) -> None:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(DYNAMIC):
            names = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
        names = [
            "tensorboard" if "tensorboard" in name else name for name in names
        ]  # torch.utils's
        roots = {name.partition(".")[0] for name in names} - OWN - sys.stdlib_module_names
        (later if inside else at_once).update(DISTRIBUTIONS.get(r, normal(r)) for r in roots)
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        deeper = inside or typing_only or isinstance(node, ast.FunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, deeper)

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return at_once, later


def sources(*folders: str) -> list[Path]:
    """Return the Python files of some folders of the checkout."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def undeclared(allowed: set[str], *folders: str) -> dict[str, set[str]]:
    """Return file -> what it imports at once beyond `allowed`, and later beyond all extras."""
    found = {}
    for path in sources(*folders):
        name = path.relative_to(ROOT).as_posix()
        extra = set(declared(NEEDS_EXTRA[name])) if name in NEEDS_EXTRA else set()
        at_once, later = third_party(path)
        if missing := (at_once - allowed - extra) | (later - EVERYTHING):
            found[name] = missing
    return found


def test_the_library_imports_at_once_only_the_core_dependencies():
    assert undeclared(CORE, "aef_worldmodel") == {}


def test_agents_and_environments_import_at_once_only_what_train_installs():
    assert undeclared(TRAIN, "agents", "envs", "configs") == {}


def test_tests_examples_and_benchmarks_import_only_declared_packages():
    assert undeclared(EVERYTHING, "tests", "examples", "benchmarks") == {}


def test_every_dependency_of_the_core_and_of_training_is_imported():
    files = sources("aef_worldmodel", "agents", "envs")
    imported = set().union(*(names for path in files for names in third_party(path)))
    assert set(TRAIN) <= imported


def test_every_requirement_has_a_lower_and_an_upper_bound():
    extras = PROJECT["optional-dependencies"].values()
    for line in [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]:
        if normal(re.split(r"\[", line)[0]) != PROJECT_NAME:
            assert re.search(r">=[\d.]+,<[\d.]+", line), line
