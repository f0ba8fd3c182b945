"""The house: which module may import which, and what the texts promise about it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bundler.build.image import read_image
from bundler.build.parts import IMAGE_FILE
from tests.conftest import HOUSE

SOURCE = HOUSE / "src" / "multihead"
MODULES = sorted(SOURCE.rglob("*.py"))
# from the ground up; those in one line stand beside each other
FLOORS = [
    *(["runtime"], ["config"], ["data", "model"], ["scoring"], ["prediction"], ["training"], ["report"]),
    *(["commands"], ["cli"], ["__main__"]),
]

FLOORS_OF_BUNDLER = [
    *(
        ["errors"],
        ["text_files"],
        ["metadata"],
        ["repository"],
        ["kernel_task"],
        ["build"],
        ["kaggle", "rehearse"],
        ["check", "study"],
    ),
    *(["commands"], ["cli"]),
]
LIBRARIES_OF_BUNDLER = {  # by module; else it needs the standard library alone
    "constraints": {"packaging"},
    "image": {"pydantic"},
    "notebook_run": {"nbclient", "nbformat"},
    "outputs": {"polars"},
    "pretrained": {"pooch"},
    "ray": {"ray"},
    "request": {"kaggle"},
    "wheels": {"packaging"},
}


def imported(path: Path) -> list[tuple[str, list[str]]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: list[tuple[str, list[str]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.append((node.module or "", [alias.name for alias in node.names]))
    return found


def room_of(path: Path, source: Path = SOURCE) -> str:
    """Return the package that a module is in; its own name for one that is in none."""
    return path.relative_to(source).with_suffix("").parts[0]


def importing(package: str) -> set[Path]:
    return {p for p in MODULES if any(name.split(".")[0] == package for name, _ in imported(p))}


@pytest.mark.parametrize(("source", "rooms"), [(SOURCE, FLOORS), (HOUSE / "bundler", FLOORS_OF_BUNDLER)])
def test_a_package_imports_only_from_floors_below_it(source: Path, rooms: list[list[str]]) -> None:
    floors = {room: floor for floor, beside_each_other in enumerate(rooms) for room in beside_each_other}
    modules = list(source.rglob("*.py"))
    assert {room_of(path, source) for path in modules} - {"__init__"} == set(floors)
    for path in modules:
        for name, of_it in imported(path):
            others = of_it if name == source.name else [name.removeprefix(f"{source.name}.").split(".")[0]]
            for other in (
                set(others) - {room_of(path, source), "__version__"} if name.split(".")[0] == source.name else ()
            ):
                assert floors[other] < floors[room_of(path, source)], f"{path} imports {other}"


def test_config_needs_neither_arrays_nor_a_network() -> None:
    heavy = {"numpy", "pandas", "polars", "cv2", "keras", "matplotlib"}
    assert {room_of(path) for package in heavy for path in importing(package)}.isdisjoint({"config", "runtime"})


def test_only_the_network_rooms_import_keras() -> None:
    assert {room_of(path) for path in importing("keras")} <= {"model", "prediction", "training"}


def test_tensorflow_is_imported_in_one_place() -> None:
    assert importing("tensorflow") == {SOURCE / "model" / "devices.py"}


def test_the_bundler_imports_the_config_of_the_package_and_nothing_else_of_it() -> None:
    for path in [HOUSE / "build_kernel.py", *(HOUSE / "bundler").rglob("*.py")]:
        names = {name for name, _ in imported(path)}
        of_package = {name for name in names if name.split(".")[0] == "multihead"}
        assert {tuple(name.split(".")[:2]) for name in of_package} <= {("multihead", "config")}, path.name
        tops = {name.split(".")[0] for name in names - of_package}
        more = LIBRARIES_OF_BUNDLER.get(path.stem, set())
        assert tops <= set(sys.stdlib_module_names) | {"bundler"} | more, path.name
        assert "bundler.build.constraints" not in {name for name, _ in imported(path)}, path.name


def test_what_is_done_at_home_with_many_trainings_stands_above_all_else_and_loads_no_network() -> None:
    for path in [*MODULES, *(HOUSE / "bundler").rglob("*.py")]:
        assert not any(name.split(".")[0] == "multihead_study" for name, _ in imported(path)), path
    program = (
        "import sys; from multihead_study import answers, cli, compare, ledger; "
        "assert not {'keras', 'tensorflow', 'jax', 'ray'} & set(sys.modules)"
    )
    environment = {"PYTHONPATH": str(HOUSE / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_python_runs_on_its_own_stands_alone() -> None:
    for program in ("rehearse/sandbox", "rehearse/isolated", "kaggle/request"):
        path = HOUSE / "bundler" / f"{program}.py"
        assert {name.split(".")[0] for name, _ in imported(path)}.isdisjoint({"bundler", "multihead"})


def test_pins_are_those_of_the_image() -> None:
    versions = read_image(IMAGE_FILE).versions
    pins = dict(re.findall(r"^([\w-]+)==(.+)$", (HOUSE / "requirements.txt").read_text(), re.M))
    alone = re.findall(r"^([\w-]+)==(.+)$", (HOUSE / "requirements-no-deps.txt").read_text(), re.M)
    assert {name: versions.get(name) for name, _ in alone} == dict(alone)
    own = {"efficientnet", "kaggle"}  # a wheel that travels in the script, and a client that is newer at home
    assert {name: pin for name, pin in pins.items() if versions.get(name) != pin}.keys() == own
