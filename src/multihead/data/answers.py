"""Tables of answers: a sample submission, a submission, the truth in their form.

A table of answers has a column of ids. Either an image has one row, with a column for each thing that is answered, or,
where several of these share one column, a row for each. What is answered is a head, or of probabilities each class of
a head; it goes by a key, the head's name or "head: class". In the ids of rows they are <image>_<head> or
<image>_<class>, with several heads <image>_<head>_<class>.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.files import without_suffix
from multihead.config.scores import LABEL, LABELS, NUMBERS, ONE_OF, PROBABILITY, Kind, ranked_classes
from multihead.config.task import Label, Task
from multihead.data.labels import class_indices, parsed, refuse_repeated
from multihead.data.tables import UNNAMED, Table
from multihead.data.targets import dense
from multihead.runtime.errors import UserError, listed, shortened

ID = "id"
NEARLY_SURE = 0.999
NO_CLASS = -1  # in a ranking of fewer classes than are asked for

Answers = Mapping[str, NDArray[Any]]  # of each head: see answers_in


@dataclass(frozen=True)
class Form:
    """The rows that answers stand in.

    rows: their ids as the table spells them, in its order, an index with the name of their column. columns: by each
    key, the column of its answers. header: those columns in the table's order. places: by each key, int64 (n,), the
    rows that answer it; images: by each key, the image of each of those rows.
    """

    rows: pd.Index
    columns: Mapping[str, str]
    header: Sequence[str]
    places: Mapping[str, NDArray[np.int64]]
    images: Mapping[str, pd.Index]

    @property
    def has_row_per_key(self) -> bool:
        return len(self.header) <= len(self.columns)

    @property
    def every_image(self) -> pd.Index:
        """The images, each once, in the order in which they come first."""
        if not self.has_row_per_key:
            return next(iter(self.images.values()))
        places = np.concatenate([self.places[key] for key in self.images])
        names = np.concatenate([images.to_numpy() for images in self.images.values()])
        return pd.Index(names[np.argsort(places, kind="stable")], dtype=str).unique()


def key_of(head: str, label: Label) -> str:
    """Return the key of the probability of a class."""
    return f"{head}: {label}"


def keys_of(task: Task) -> dict[str, str]:
    """Return how each key is called in the id of a row, and in a table without a sample."""
    if task.answer != PROBABILITY:
        return {head: head for head in task.heads}
    before = {head: f"{head}_" if len(task.heads) > 1 else "" for head in task.heads}
    return {key_of(head, label): f"{before[head]}{label}" for head, of in task.heads.items() for label in of}


def cells_of(answers: Answers, task: Task) -> dict[str, NDArray[Any]]:
    """Return what is written of n images, (n,) by each key: class labels, texts of several, or numbers.

    answers: as answers_in returns them.
    """
    cells: dict[str, NDArray[Any]] = {}
    for head, of_head in answers.items():
        names = np.array([*task.heads[head], ""], dtype=object)  # of NO_CLASS, the last
        if task.answer == PROBABILITY:
            for label, column in zip(task.heads[head], _exact(of_head, task.kind(head)).T, strict=True):
                cells[key_of(head, label)] = np.ascontiguousarray(column)
        elif task.answer == LABEL:
            cells[head] = names[of_head]
        elif task.answer == NUMBERS:
            cells[head] = of_head.astype(np.float32)  # as the network says it, so that it is written as short as can be
        else:
            rows = of_head if ranked_classes(task.answer) else map(np.flatnonzero, of_head)
            texts = [" ".join(str(label) for label in names[row] if label != "") for row in rows]
            cells[head] = np.array(texts, dtype=object)
    return cells


def _exact(rows: NDArray[Any], kind: Kind) -> NDArray[Any]:
    """Return probabilities; of one of two classes float64, a nearly sure one as 1 less the other.

    A sample may ask for one of the two alone: single precision would make 1 of what is not quite, at any log loss.
    """
    if kind not in ONE_OF or rows.shape[1] != 2:
        return rows
    exact = rows.astype(np.float64)
    return np.where(exact > NEARLY_SURE, 1 - exact[:, ::-1], exact)


def answers_in(cells: pd.DataFrame, task: Task, path: Path) -> dict[str, NDArray[Any]]:
    """Return the answers of read_answers, for each head: the inverse of cells_of.

    "label": int64 (n,) class indices. "probability": float64 (n, classes). "ranking k": int64 (n, k) class indices, the
    best first, NO_CLASS where there are fewer. "labels": bool (n, classes). "number": float64 (n,). Raises UserError
    for what is none, naming the file and the row.
    """
    return {head: _answers_in(cells, head, task, path) for head in task.heads}


def _answers_in(cells: pd.DataFrame, head: str, task: Task, path: Path) -> NDArray[Any]:
    classes = task.heads[head]
    if task.answer == PROBABILITY:
        keys = [key_of(head, label) for label in classes]
        columns = {key: _all_numbers(cells[key], path) for key in keys if key in cells}
        if len(columns) < len(keys):  # that of the last of two
            (last,) = columns.values()
            return np.stack([1 - last, last][-len(keys) :], axis=1)
        return np.stack([*columns.values()], axis=1)
    texts = cells[head]
    if task.answer == LABEL:
        return class_indices(texts, classes, path)
    if task.answer == NUMBERS:
        return _all_numbers(texts, path)
    if task.answer == LABELS:
        labels = parsed(texts, task, head, path)
        return dense(labels.to_numpy(), len(classes), "sigmoid") > 0
    return _ranking(texts, classes, ranked_classes(task.answer), path)


def _ranking(texts: "pd.Series[Any]", classes: Sequence[Label], most: int, path: Path) -> NDArray[np.int64]:
    labels = texts.astype(str).str.split()
    if (labels.str.len() > most).any():
        row = shortened(texts.index[int((labels.str.len() > most).argmax())])
        raise UserError(f"{path}, {row}: {texts.name} has more than {most} classes")
    every = pd.Series([label for row in labels for label in row], dtype=object, name=texts.name)
    every.index = labels.index.repeat(labels.str.len())
    ranking = np.full((len(labels), most), NO_CLASS, np.int64)
    ranking[np.arange(most) < labels.str.len().to_numpy()[:, None]] = class_indices(every, classes, path)
    return ranking


def _all_numbers(texts: "pd.Series[Any]", path: Path) -> NDArray[np.float64]:
    values = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64)
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = int(wrong.argmax())
        found = shortened(texts.iloc[row]) if texts.iloc[row] != "" else "empty"
        raise UserError(f"{path}, {shortened(texts.index[row])}: {texts.name} is {found}; expected a number")
    return values


def truth_in(answers: Answers, task: Task) -> dict[str, NDArray[Any]]:
    """Return a truth (targets.py) that is told in the form of answers."""
    truth: dict[str, NDArray[Any]] = {}
    for head, of_head in answers.items():
        if task.answer == PROBABILITY:
            truth[head] = of_head.argmax(axis=1) if task.is_one_of(head) else (of_head > 0.5).astype(np.int8)
        elif task.answer == LABELS:
            truth[head] = of_head.astype(np.int8)
        elif ranked_classes(task.answer) and task.is_one_of(head):
            truth[head] = of_head[:, 0]
        elif ranked_classes(task.answer):
            rows = [[label] for label in of_head]
            truth[head] = np.stack([np.isin(np.arange(len(task.heads[head])), row) for row in rows]).astype(np.int8)
        else:
            truth[head] = of_head
    return truth


def form_of_images(images: Sequence[str], task: Task) -> Form:
    """Return the form where no sample asks for another: a row per image, id and a column per key.

    Raises UserError for an image that comes twice.
    """
    rows = pd.Index(images, dtype=str, name=ID)
    refuse_repeated(rows, task.test_files)
    names = keys_of(task)
    return _one_row_per_image(rows, names, [ID, *names.values()])


def read_form(path: Path, task: Task, there: Sequence[str] | None = None) -> Form:
    """Return the form of a table of answers.

    there: the images, where they are known. Raises UserError for a table that has no such form, a row that belongs to
    no key, or an id that is empty or comes twice.
    """
    return _form_of(Table(path), task, there)


def read_answers(path: Path, task: Task, there: Sequence[str] | None = None) -> pd.DataFrame:
    """Return what stands in a table of answers as text: index image id (str), a column by each of its keys.

    there: the images, where they are known. Raises UserError as read_form does, and where an image lacks one of its
    keys.
    """
    table = Table(path)
    form = _form_of(table, task, there)
    cells = table.text(list(dict.fromkeys(form.columns.values())))
    by_key = {
        key: pd.Series(cells[column].to_numpy()[form.places[key]], index=form.images[key], name=key)
        for key, column in form.columns.items()
    }
    images = form.every_image
    if not all(len(answers) == len(images) and answers.index.isin(images).all() for answers in by_key.values()):
        raise UserError(f"{path}: {_expected_rows(task)}")
    return pd.DataFrame({key: answers[images] for key, answers in by_key.items()})


def _expected_rows(task: Task) -> str:
    one, all_of_them = ("class", "classes") if task.answer == PROBABILITY else ("head", "heads")
    return f"row ids are not <image>_<{one}> with the {all_of_them} {listed(keys_of(task).values())}"


def _form_of(table: Table, task: Task, there: Sequence[str] | None = None) -> Form:
    columns, ids = _columns(table, task, there)
    header = [name for name in table.names if name in (ids.name, *columns.values())]
    if len(header) > len(columns):
        return _one_row_per_image(ids, columns, header)
    names = keys_of(task)
    ends = {task.row_id("", name): key for key, name in names.items()}
    key_of_row, images = _parted(ids, ends, there)
    is_unknown = key_of_row == ""
    if is_unknown.any():
        what = "class" if task.answer == PROBABILITY else "head"
        raise UserError(
            f"{table.path}: {shortened(ids[int(is_unknown.argmax())])} ends in none of {listed(names.values())}; "
            f"expected a row per image and {what}, <image>_<{what}>, or a column per {what}"
        )
    places = {key: np.flatnonzero(key_of_row == key) for key in names}
    return Form(ids, columns, header, places, {key: images[of_key] for key, of_key in places.items()})


def _parted(
    ids: pd.Index, ends: Mapping[str, str], there: Sequence[str] | None = None
) -> tuple[NDArray[Any], pd.Index]:
    """Return by which key each id ends, "" where it does by none, and what stands before.

    Of several ends that before which an image of `there` stands is meant, or else the longest; an id that is one of
    these has none.
    """
    keys, images, known = [], [], {form for path in there or () for form in (path, without_suffix(path.split("/")[-1]))}
    for name in ids.tolist():
        if name in known:
            keys.append("")
            images.append(name)
            continue
        places = [place for place, letter in enumerate(name) if letter == "_" and name[place:] in ends]
        place = next((place for place in places if name[:place] in known), places[0] if places else len(name))
        keys.append(ends.get(name[place:], ""))
        images.append(name[:place])
    return np.array(keys, dtype=object), pd.Index(images, dtype=str)


def _one_row_per_image(ids: pd.Index, columns: Mapping[str, str], header: Sequence[str]) -> Form:
    return Form(ids, columns, header, dict.fromkeys(columns, np.arange(len(ids))), dict.fromkeys(columns, ids))


def _columns(table: Table, task: Task, there: Sequence[str] | None) -> tuple[dict[str, str], pd.Index]:
    """Return the column of each key's answers, and the ids.

    It is named as the key, or as the head, or else it is the one beside the ids.
    """
    per_class = _columns_per_class(table, task)
    if per_class:
        others = [name for name in table.names if name not in per_class.values()]
        return per_class, _ids(table, others, task, there)
    answers = {head: table.find(head) or table.find(task.columns.get(head, head)) for head in task.heads}
    named = [name for name in table.names if not name.startswith(UNNAMED)]
    if len(table.names) < 2:
        raise UserError(f"{table.path}: has one column, {listed(table.names)}; expected an id and answers")
    if not all(answers.values()) and len(table.names) > 2 and len(named) != 2:
        expected = keys_of(task).values()
        raise UserError(f"{table.path}: columns {listed(table.names)}; expected an id and {listed(expected)}")
    ids = _ids(table, [name for name in table.names if name not in answers.values()], task, there)
    beside = next((column for column in (*named, *table.names) if column != ids.name), "")
    columns = {head: column or beside for head, column in answers.items()}
    if task.answer == PROBABILITY:
        return _columns_of_probabilities(columns, ids, task, table.path, there), ids
    return columns, ids


def _ids(table: Table, candidates: Sequence[str], task: Task, there: Sequence[str] | None) -> pd.Index:
    if not candidates:
        raise UserError(f"{table.path}: columns {listed(table.names)}; expected an id beside them")
    name = table.ids_among(candidates, task.id_column, (), there) or candidates[0]
    ids = pd.Index(table.text([name])[name], dtype=str, name=name)
    if ids.has_duplicates:
        raise UserError(f"{table.path}: {shortened(ids[ids.duplicated()][0])} stands in it more than once")
    if (ids == "").any():
        raise UserError(f"{table.path}, row {int((ids == '').argmax()) + 2}: {name} is empty")
    return ids


def _columns_per_class(table: Table, task: Task) -> dict[str, str]:
    """Return the column of each class by its key, {} where there are none; UserError where some are missing."""
    if task.answer != PROBABILITY:
        return {}
    names = keys_of(task)
    labels = {key_of(head, label): str(label) for head, classes in task.heads.items() for label in classes}
    found = {key: table.find(name) or table.find(labels[key]) for key, name in names.items()}
    missing = [names[key] for key, column in found.items() if not column]
    is_last_alone = _has_last(task) and all(names[key_of(head, of[0])] in missing for head, of in task.heads.items())
    if len(names) == 1 or len(missing) > len(names) / 2 or is_last_alone:
        return {}
    if missing:
        raise UserError(f"{table.path}: no column {listed(missing)}; it has {listed(table.names)}")
    return found


def _has_last(task: Task) -> bool:
    """Tell whether each head may be answered by the probability of its last class alone."""
    return all(len(classes) == (2 if task.is_one_of(head) else 1) for head, classes in task.heads.items())


def _columns_of_probabilities(
    columns: Mapping[str, str], ids: pd.Index, task: Task, path: Path, there: Sequence[str] | None
) -> dict[str, str]:
    """Return the column of each key where heads have one: of all classes, in rows, or of the last of two."""
    names = keys_of(task)
    ends = {task.row_id("", name): key for key, name in names.items()}
    looked_at = (
        ids if _has_last(task) else ids[:1]
    )  # where there may be no column of the last, one that is wrong is an error
    if len(names) > 1 and "" not in _parted(looked_at, ends, there)[0]:
        return {key_of(head, label): columns[head] for head, classes in task.heads.items() for label in classes}
    for head, classes in task.heads.items():
        if len(classes) != (2 if task.is_one_of(head) else 1):
            raise UserError(
                f"{path}: one column, {columns[head]}, for {len(classes)} classes of {head}; expected a column or a "
                f"row for each: {listed(classes)}"
            )
    return {key_of(head, classes[-1]): columns[head] for head, classes in task.heads.items()}
