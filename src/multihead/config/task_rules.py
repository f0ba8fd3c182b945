"""What a task's values mean together: what follows from others, and what contradicts them."""

from collections.abc import Mapping
from typing import Any

from multihead.config.backbones import BACKBONES
from multihead.config.files import heads_in, path_names
from multihead.config.scores import (
    LABELS,
    SCORES,
    is_answer,
    is_score,
    ranked_classes,
    score_kind,
    score_of_answer,
)
from multihead.config.task import Task
from multihead.runtime.errors import UserError, listed

MOST_CLASSES = 100_000
# What no head may be called: layers of the network, columns of history.csv and predictions.csv
_TAKEN = {
    *("images", "input_scaling", "gray_to_colour", "flip", "dropout", "id", "epoch", "loss", "learning_rate"),
    *("images_per_second", "memory_gb", "score", "score_with_prior", "score_present", "score_unseen"),
}
OF_A_HEAD = {"kind", "column", "classes"}


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's plain values with what follows from them: columns, kinds, answer, score, hidden test."""
    values = _with_score(_with_heads(values))
    is_of_code_competition = all(values.get(key) for key in ("competition", "test_files", "sample_submission"))
    values.setdefault("has_hidden_test", bool(values.get("hidden_images")) or is_of_code_competition)
    return values


def _with_heads(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's values with what its heads tell in tables as keys of their own: columns, kinds."""
    heads = values.get("heads")
    if not isinstance(heads, Mapping):
        return dict(values)
    tables = {head: table if isinstance(table, Mapping) else {"classes": table} for head, table in heads.items()}
    if not all(
        table.keys() <= OF_A_HEAD and not table.keys().isdisjoint(("kind", "classes")) for table in tables.values()
    ):
        return dict(values)
    classes = {head: _counted(table.get("classes", [])) for head, table in tables.items()}
    new = {**values, "heads": classes}
    for key, name in (("column", "columns"), ("kind", "kinds")):
        told = {head: table[key] for head, table in tables.items() if key in table}
        new |= {name: told} if told else {}
    return new


def _counted(classes: Any) -> Any:
    """Return the class labels 0, 1, ... for their number."""
    is_number = isinstance(classes, int) and not isinstance(classes, bool) and 1 <= classes <= MOST_CLASSES
    return list(range(classes)) if is_number else classes


def _with_score(values: dict[str, Any]) -> dict[str, Any]:
    """Return a task's values with the score that follows from its answer, or the answer from its score."""
    answer, score = values.get("answer"), values.get("score")
    heads, kinds = values.get("heads"), values.get("kinds", {})
    if not (isinstance(heads, Mapping) and heads and isinstance(kinds, Mapping)):
        return values
    kind = kinds.get(next(iter(heads)), "softmax")
    if score is None and (answer is None or (isinstance(answer, str) and is_answer(answer))):
        score = values["score"] = score_of_answer(answer or "", kind)
    if answer is None and isinstance(score, str) and is_score(score):
        values["answer"] = score_kind(score).answers.get(kind, "label")
    return values


def refuse_contradictions(task: Task, source: str) -> None:
    """Raise UserError for the first thing in a task that contradicts another."""
    for name in ("score_weights", "columns", "kinds"):
        for key in getattr(task, name):
            if key not in task.heads:
                raise UserError(f"{source}: {name} names {key}, which is none of the heads {listed(task.heads)}")
    refused = {
        "expected either a competition or a dataset": bool(task.competition) == bool(task.dataset),
        f"hidden_images = {task.hidden_images}, but has_hidden_test = false": (
            task.hidden_images and not task.has_hidden_test
        ),
        "wide parquet needs a labels_file and test_files": (
            task.reader == "wide parquet" and not (task.labels_file and task.test_files)
        ),
        "no test_files; only of image files can a fifth take their place": (
            task.reader != "image files" and not task.test_files
        ),
    }
    for what, is_so in refused.items():
        if is_so:
            raise UserError(f"{source}: {what}")
    _refuse_places(task, source)
    _refuse_scores(task, source)
    for head, labels in task.heads.items():
        if head in _TAKEN or head in BACKBONES or head.removesuffix("_loss") in task.heads.keys() - {head}:
            raise UserError(
                f"{source}: heads.{head}: a name that the network or its tables have already; choose another"
            )
        longer = [other for other in task.heads if other.endswith(f"_{head}")]
        if longer:
            raise UserError(
                f"{source}: heads.{head}: {longer[0]} ends in it, so row ids <image>_<head> could be of either"
            )
        if task.kind(head) == "number":
            if labels:
                raise UserError(f"{source}: heads.{head}: a number has no classes")
        elif task.kind(head) == "ordinal" and len(labels) == 1:
            raise UserError(f"{source}: heads.{head}: classes in an order are two or more")
        elif not labels or len(set(labels)) < len(labels) or len({type(label) for label in labels}) > 1:
            raise UserError(f"{source}: heads.{head}: expected different labels, all numbers or all texts")


def _refuse_scores(task: Task, source: str) -> None:
    """Raise UserError where a head cannot be scored, or answered, so."""
    answers = score_kind(task.score).answers
    for head, labels in task.heads.items():
        kind = task.kind(head)
        if kind not in answers:
            known = [name for name in SCORES if kind in score_kind(name).answers]
            raise UserError(
                f"{source}: score = {task.score!r} is none of heads.{head}, which is {kind}; expected one of "
                f"{listed(known, len(known))}"
            )
        if answers[kind] != task.answer:
            raise UserError(
                f"{source}: answer = {task.answer!r}, but score = {task.score!r} is of {answers[kind]!r} "
                f"where a head is {kind}"
            )
        if ranked_classes(task.answer) > len(labels):
            raise UserError(f"{source}: answer = {task.answer!r}, but heads.{head} has {len(labels)} classes")
        is_parted = bool(ranked_classes(task.answer)) or task.answer == LABELS
        if is_parted and any(str(label).split() != [str(label)] for label in labels):
            raise UserError(f"{source}: heads.{head}: labels are parted by spaces, so none may hold one")


def _refuse_places(task: Task, source: str) -> None:
    """Raise UserError where patterns of files do not say where the classes stand, or say so of what is no head."""
    for pattern in (task.train_files, task.test_files):
        placed = heads_in(pattern)
        for head in placed:
            if head not in task.heads or task.reader != "image files" or placed.count(head) > 1:
                raise UserError(
                    f"{source}: {pattern}: holds {{{head}}}; "
                    f"expected each of the heads {listed(task.heads)} at most once, and of image files"
                )
    placed = list(path_names(task.train_files, dict.fromkeys(task.heads, ())).groupindex)
    missing = [head for head in task.heads if head not in placed]
    if task.reader == "image files" and not task.labels_file and missing:
        raise UserError(
            f"{source}: train_files = {task.train_files!r} does not say where the class of {missing[0]} stands; write "
            f"{{{missing[0]}}} in its place, or name a labels_file"
        )
