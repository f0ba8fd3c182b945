"""The tasks that are built in, and those of one's own: a task.toml beside settings.toml."""

from collections import UserDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multihead.config.checking import validated
from multihead.config.files import SETTINGS_FILE, TASK_FILE
from multihead.config.task import Task
from multihead.config.task_rules import completed, refuse_contradictions
from multihead.runtime.errors import UserError, shortened
from multihead.runtime.text_files import read_text, read_toml

# In the order of messages and tables; a built script carries its own task only, and nothing lies in the folder then
BUILT_IN = ("bengali", "digit-recognizer", "fashion-mnist", "sign-mnist", "animals10")
TASKS_FOLDER = Path(__file__).with_name("tasks")


def task_by_name(name: str, own: Task | None = None) -> Task:
    """Return the task of that name, its own one or one that is built in; UserError lists the known ones."""
    known = {**TASKS, **({own.name: own} if own else {})}
    if name in known:
        return known[name]
    if TASKS:
        raise UserError(f"task: {name!r} is not known; one of {', '.join(TASKS)}, or that of a {TASK_FILE}")
    carried = f"only {own.name}" if own else "none"
    raise UserError(
        f"task: {name!r} is not in this script, which carries {carried}; set it in kernel/train/{SETTINGS_FILE} and "
        "build again"
    )


def read_task(path: Path) -> Task:
    """Return a task of one's own from a TOML file; UserError for the first key that is not known or not possible.

    It may be one that is built in, word for word: a script carries its task so.
    """
    task = task_from(read_toml(path), path.name)
    if task != TASKS.get(task.name, task):
        raise UserError(f"{path.name}: name = {task.name!r} is a task that is built in; choose another")
    return task


def task_beside(settings: Path | None) -> Task | None:
    """Return the task of the task.toml beside a settings file; None where there is none."""
    path = settings.with_name(TASK_FILE) if settings else None
    return read_task(path) if path and path.is_file() else None


def task_text(name: str, settings: Path | None = None) -> str:
    """Return the TOML of a task: of the one beside a settings file, if that is its name, or of one built in."""
    own = task_beside(settings)
    if settings and own and own.name == name:
        return read_text(settings.with_name(TASK_FILE))
    return read_text(TASKS_FOLDER / f"{task_by_name(name).name}.toml")


def task_from(values: Mapping[str, Any], source: str) -> Task:
    """Return a task from plain values, of TOML or JSON; the inverse of task_dict."""
    task = validated(Task, completed(values), source, lambda value: shortened(repr(value)))
    refuse_contradictions(task, source)
    return task


class _BuiltIn(UserDict[str, Any]):
    """The tasks of the folder by their names, each read once it is asked for."""

    def __getitem__(self, name: str) -> Task:
        task: Task | Path = self.data[name]
        if isinstance(task, Path):
            task = self.data[name] = task_from(read_toml(task), task.name)
        return task


_FILES = {name: TASKS_FOLDER / f"{name}.toml" for name in BUILT_IN}
TASKS: Mapping[str, Task] = _BuiltIn({name: path for name, path in _FILES.items() if path.is_file()})
