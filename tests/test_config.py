"""Tasks as data, the schemas of their files, and what is known without arrays and a network."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multihead.cli import main
from multihead.config.known_tasks import BUILT_IN, TASKS, TASKS_FOLDER, read_task, task_text
from multihead.config.schema import settings_schema, task_schema
from multihead.config.settings_file import read_settings
from multihead.config.task import FILE_FORMS
from multihead.config.toml_text import settings_text
from multihead.data.datasets import READERS
from multihead.runtime.errors import UserError
from tests.built_in import BENGALI
from tests.conftest import HOUSE
from tests.test_tasks import LEAVES

SCHEMAS = HOUSE / "docs" / "schema"
EXPLAIN = """
import sys
from pathlib import Path
from multihead.config import UserError, manifest, settings_file, task
try:
    print({})
except UserError as error:
    print(error)
"""


def ask(source: Path, question: str) -> str:
    """Return what a process prints that imports the package from a folder: an expression's value, or the mistake."""
    command = [sys.executable, "-c", EXPLAIN.format(question)]
    done = subprocess.run(command, env={"PYTHONPATH": str(source)}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as a built script unpacks it: without the tasks that are built in."""
    folder = tmp_path_factory.mktemp("script")
    for room in ("runtime", "config"):
        ignore = shutil.ignore_patterns("__pycache__", "tasks")
        shutil.copytree(HOUSE / "src" / "multihead" / room, folder / "multihead" / room, ignore=ignore)
    shutil.copy(HOUSE / "src" / "multihead" / "__init__.py", folder / "multihead")
    return folder


def test_every_form_of_file_has_its_reader() -> None:
    assert tuple(READERS) == FILE_FORMS


def test_every_task_in_the_folder_is_built_in_and_the_first_is_the_default() -> None:
    assert sorted(path.stem for path in TASKS_FOLDER.iterdir()) == sorted(BUILT_IN)
    assert tuple(TASKS) == BUILT_IN == tuple(task.name for task in TASKS.values())
    assert read_settings(None).task is TASKS[BUILT_IN[0]] is BENGALI


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_task_that_is_built_in_may_lie_beside_the_settings_word_for_word(tmp_path: Path, name: str) -> None:
    (tmp_path / "task.toml").write_text(task_text(name))
    (tmp_path / "settings.toml").write_text("")
    assert read_task(tmp_path / "task.toml") == TASKS[name]
    assert read_settings(tmp_path / "settings.toml").task == TASKS[name]


def test_the_text_of_a_task_is_that_beside_the_settings_or_of_one_built_in(tmp_path: Path) -> None:
    (tmp_path / "task.toml").write_text(LEAVES)
    settings = tmp_path / "settings.toml"
    assert task_text("leaves", settings) == LEAVES
    assert tomllib.loads(task_text("animals10", settings))["name"] == "animals10"
    with pytest.raises(UserError, match="task: 'leaves' is not known; one of bengali, "):
        task_text("leaves")


def test_a_script_takes_its_own_task_and_says_that_it_has_no_other(script: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("")
    (tmp_path / "task.toml").write_text(task_text("bengali").replace("gpu_minutes = 120", "gpu_minutes = 60"))
    read = f"settings_file.read_settings(Path({str(tmp_path / 'settings.toml')!r}))"
    assert ask(script, f"[(s.task.name, s.task.gpu_minutes, s.model.crop) for s in [{read}]]") == (
        "[('bengali', 60, 'ink')]"
    )
    (tmp_path / "settings.toml").write_text('[model]\ntask = "animals10"\n')
    assert ask(script, read) == (
        "task: 'animals10' is not in this script, which carries only bengali; set it in kernel/train/settings.toml and "
        "build again"
    )


def test_a_script_without_a_task_reads_its_settings_all_the_same(script: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[model]\ncrop = "task"\n[run]\nepochs = 3\n')
    read = f"settings_file.read_settings(Path({str(tmp_path / 'settings.toml')!r}))"
    assert ask(script, f"[(s.run.epochs, s.given_model_keys, s.known_task) for s in [{read}]]") == (
        "[(3, frozenset(), None)]"
    )
    mistake = "task: 'bengali' is not in this script, which carries none; set it in kernel/train/settings.toml and"
    assert ask(script, f"{read}.task") == f"{mistake} build again"


def test_all_of_it_is_known_without_arrays_and_a_network() -> None:
    heavy = {"numpy", "pandas", "polars", "cv2", "keras", "tensorflow", "email_validator"}
    assert ask(HOUSE / "src", f"{heavy} & set(sys.modules)") == "set()"


def test_the_schemas_take_what_is_shipped_and_refuse_a_mistake() -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    settings, task = validator(settings_schema()), validator(task_schema())
    for path in (HOUSE / "kernel").glob("*/settings*.toml"):
        assert not list(settings.iter_errors(tomllib.loads(path.read_text()))), path
    for text in (LEAVES, *map(task_text, BUILT_IN)):
        assert not list(task.iter_errors(tomllib.loads(text)))
    named = tomllib.loads(LEAVES) | {"heads": {"species": {"column": "Kind of tree", "classes": ["oak", "elm"]}}}
    assert not list(task.iter_errors(named))
    mistakes = ["epochs = 0", "epoch = 1", 'validation = "all"', "augmentation = [{}]"]
    mistakes += ['augmentation = [{ name = "flip", share = 2 }]']
    for text in mistakes:
        assert list(settings.iter_errors({"run": tomllib.loads(text)})), text
    assert list(settings.iter_errors({"train": {}}))
    assert list(task.iter_errors(named | {"heads": {"species": {"column": "Kind of tree"}}}))
    assert list(task.iter_errors(named | {"colour": 3}))


def test_the_schemas_in_docs_are_those_that_the_command_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", str(tmp_path / "new")]) == 0
    written = {path.name: path.read_text() for path in (tmp_path / "new").iterdir()}
    assert written == {path.name: path.read_text() for path in SCHEMAS.iterdir()}, "multihead schema docs/schema"
    capsys.readouterr()
    assert main(["schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {f"{name}.json": schema for name, schema in printed.items()} == {
        name: json.loads(text) for name, text in written.items()
    }


def test_a_file_that_is_no_schema_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "task.json").write_text("{}")
    assert main(["schema", str(tmp_path)]) == 2
    assert "task.json: would be written over, but it is no JSON schema" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["task.json"]
    (tmp_path / "task.json").write_text((SCHEMAS / "task.json").read_text().replace("heads", "head"))
    assert main(["schema", str(tmp_path)]) == 0
    assert (tmp_path / "task.json").read_text() == (SCHEMAS / "task.json").read_text()


def test_every_settings_file_names_its_schema_for_the_editor() -> None:
    for path in (HOUSE / "kernel").glob("*/settings*.toml"):
        directive = path.read_text().partition("\n")[0]
        assert (path.parent / directive.removeprefix("#:schema ")).resolve() == SCHEMAS / "settings.json", path


def test_each_key_of_the_schemas_is_described() -> None:
    tables = [*settings_schema()["properties"].values(), task_schema()]
    keys = [(key, rules) for table in tables for key, rules in table["properties"].items()]
    assert [key for key, rules in keys if not rules.get("description")] == []
    json.dumps(tables)


PLAIN = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.from_regex(r"[a-z]+", fullmatch=True), st.dictionaries(st.text(), PLAIN, max_size=3)))
def test_plain_values_are_read_back_from_the_toml_that_they_are_written_as(tables: dict[str, dict[str, Any]]) -> None:
    assert tomllib.loads(settings_text(tables)) == tables
