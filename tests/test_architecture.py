"""The house: which module may import which, and what the texts promise about it."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import multihead
from tests.conftest import HOUSE

MODULES = sorted((HOUSE / "src" / "multihead").glob("*.py"))
KERAS_MODULES = {"devices", "backbones", "model", "weights", "checkpoint", "inference", "training"}


def imported(path: Path) -> list[tuple[str, list[str]]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: list[tuple[str, list[str]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", [alias.name for alias in node.names]))
    return found


def test_a_module_imports_only_modules_listed_above_it() -> None:
    order = re.findall(r"\w+", str(multihead.__doc__).split("in this list:")[1])
    assert sorted(order) == [m.stem for m in MODULES if m.stem != "__init__"]
    for path in MODULES:
        for name, _ in imported(path):
            if name.startswith("multihead."):
                assert order.index(name.split(".")[1]) < order.index(path.stem), f"{path.stem} imports {name}"


def test_only_the_network_rooms_import_keras() -> None:
    importing = {p.stem for p in MODULES if any(name.split(".")[0] == "keras" for name, _ in imported(p))}
    assert importing <= KERAS_MODULES


def test_tensorflow_is_imported_in_one_place() -> None:
    assert [p.stem for p in MODULES if any(n.split(".")[0] == "tensorflow" for n, _ in imported(p))] == ["devices"]


def test_the_bundler_needs_the_standard_library_only() -> None:
    for path in [HOUSE / "build_kernel.py", *(HOUSE / "bundler").glob("*.py")]:
        tops = {name.split(".")[0] for name, _ in imported(path)}
        more = {"packaging"} if path.stem == "constraints" else set()  # no command of build_kernel.py imports it
        assert tops <= set(sys.stdlib_module_names) | {"bundler"} | more, path.name
        assert "bundler.constraints" not in {name for name, _ in imported(path)}, path.name


def test_the_sandbox_stands_alone() -> None:
    assert all(name.split(".")[0] != "bundler" for name, _ in imported(HOUSE / "bundler" / "sandbox.py"))


def test_pins_are_those_of_the_image() -> None:
    image = tomllib.loads((HOUSE / "bundler" / "kaggle_image.toml").read_text())["imports"]
    versions = dict(map(tuple, image.values()))
    pins = dict(re.findall(r"^([\w-]+)==(.+)$", (HOUSE / "requirements.txt").read_text(), re.M))
    alone = re.findall(r"^([\w-]+)==(.+)$", (HOUSE / "requirements-no-deps.txt").read_text(), re.M)
    assert {name: versions.get(name) for name, _ in alone} == dict(alone)
    own = {"efficientnet", "kaggle"}  # a wheel that travels in the script, and a client that is newer at home
    assert {name: pin for name, pin in pins.items() if versions.get(name) != pin}.keys() == own
