"""What a competition or data set asks for: its files, its images, its heads, its score.

A task of one's own is a task.toml beside settings.toml, its keys those of Task.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from multihead.config.backbones import BACKBONES
from multihead.runtime.errors import UserError, listed, shortened
from multihead.runtime.text_files import read_toml

Label = int | str

TASK_FILE = "task.toml"
PLACEHOLDER = r"\{\w+\}"  # in a pattern of files, for the class of the head of that name
READERS = ("wide parquet", "pixel csv", "image files")
SCORES = ("macro recall", "accuracy")
CROPS = ("ink", "padded", "none")
BACKGROUNDS = ("", "white", "black")
FOLDS = 5  # of a task without test files
LEADS_OUT = r"^[/~]|^[A-Za-z]:|\\|(^|/)\.\.(/|$)"  # of the data folder, on any system
_OF_THE_SUBMISSION = {"has_hidden_test", "hidden_images", "gpu_minutes", "cpu_minutes"}
# What no head may be called: layers of the network, columns of history.csv and predictions.csv
_TAKEN = {
    *("images", "input_scaling", "gray_to_colour", "flip", "dropout", "id", "epoch", "loss", "learning_rate"),
    *("images_per_second", "memory_gb", "score", "score_with_prior", "score_present", "score_unseen"),
}


@dataclass(frozen=True)
class Task:
    """One competition or data set.

    competition, dataset: where on Kaggle its files come from, a slug or owner/slug; one of the two.
    reader: what its files are. "wide parquet": rows of an id and a column per pixel, "0", "1", ... "pixel csv": rows of
        a column per pixel, "pixel0" or "pixel1" and so on. "image files": JPEG, PNG, ...
    image_shape: (height, width, channels) of an image; 3 channels are red, green, blue. Image files of any size are
        stretched to it; those that are not cropped, to ModelSettings.image_size instead.
    heads: for each head, in the order used everywhere, the tuple of its class labels. Arrays of
        labels hold indices into that tuple. columns: for a head whose column in the tables has another name, that. A
        task.toml writes both as one table: head = { column = "Its column", classes = [...] }. A table without the
        column may have one for each class instead, which says 1 or 0.
    train_files, test_files: glob patterns below the data folder. Without test_files a fifth of the train images,
        drawn evenly over the classes, of several heads over their combinations, takes their place (ModelSettings.fold).
    labels_file: a table of train labels, a column per head; the images to train on are those that it names. Without it
        the labels are in the train files: columns of a pixel CSV, or the paths of image files. There the pattern has a
        head's name in braces where its class stands, "train/{label}.*.jpg"; without braces it is the last folder that
        the pattern leaves open, "train/*/images/*". class_folders: what such a name stands for, if not its class.
    id_column: the column of ids in any table, where its name leaves a doubt: it is looked for in each by its name, that
        in the sample, and its values. The ids of image files are their names or paths; of those that no table names,
        the name, with its suffix unless id_has_suffix is False, or without an id_column the path below the data folder.
        Only where no column could hold ids are the rows of a table numbered.
    sample_submission: whose rows a submission has, and so the images to predict; without it, predictions.csv has a row
        per image.
    background: what transparent image files are laid on, "white" or "black"; if not said white, or black where light
        ink is cropped. bits: how many of 16-bit image files are in use; if not said, those of the train images.
    score: the mean over a head's classes of the recall, or the share of images that are right; score_weights: how much
        each head's counts.
    dark_ink: True where ink is darker than paper. crop: what ModelSettings.crop is if not set.
    has_hidden_test: whether Kaggle runs the kernel again on test files that nobody sees. A fault of those that are seen
        is an error then, since it would cost the submission; without a hidden test it costs its own rows. A task.toml
        that does not say has one if it is a competition with test_files and a sample_submission: most of those are code
        competitions, and an error too many is seen at once.
    hidden_images: how many images the hidden test has, 0 where that is not known: no time is projected then.
    gpu_minutes, cpu_minutes: what the competition allows a submission. Competitions allow 2 to 12 hours; what is not
        known is not refused, so the default is what Kaggle allows any session.
    """

    name: str
    reader: str
    image_shape: tuple[int, int, int]
    heads: Mapping[str, tuple[Label, ...]]
    train_files: str
    competition: str = ""
    dataset: str = ""
    test_files: str = ""
    labels_file: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    class_folders: Mapping[str, str] = field(default_factory=dict)
    id_column: str = ""
    id_has_suffix: bool = True
    sample_submission: str = ""
    score: str = "accuracy"
    score_weights: Mapping[str, float] = field(default_factory=dict)
    dark_ink: bool = False
    crop: str = "none"
    background: str = ""
    bits: int = 0
    has_hidden_test: bool = False
    hidden_images: int = 0
    gpu_minutes: float = 720
    cpu_minutes: float = 720

    def weight(self, head: str) -> float:
        """Return the weight of a head in the score."""
        return self.score_weights.get(head, 1.0)

    def row_id(self, image_id: str, head: str) -> str:
        """Return the submission's key for one image and one head, where each has a row of its own."""
        return f"{image_id}_{head}"

    @property
    def files_to_train(self) -> list[str]:
        return [glob_of(name) for name in (self.train_files, self.labels_file) if name]

    @property
    def files_to_predict(self) -> list[str]:
        images = [self.test_files] if self.test_files else self.files_to_train  # a fifth is drawn by their labels
        return [glob_of(name) for name in (*images, self.sample_submission) if name]

    @property
    def background_value(self) -> int:
        """The gray value, 0 to 255, that transparent images are laid on."""
        is_light_ink = not self.dark_ink and self.crop in ("ink", "padded")
        return 0 if self.background == "black" or (not self.background and is_light_ink) else 255

    @property
    def slug(self) -> str:
        """The last part of where its files are mounted."""
        return (self.competition or self.dataset).rpartition("/")[2]


BENGALI = Task(
    name="bengali",
    competition="bengaliai-cv19",
    reader="wide parquet",
    image_shape=(137, 236, 1),
    heads={
        "grapheme_root": tuple(range(168)),
        "vowel_diacritic": tuple(range(11)),
        "consonant_diacritic": tuple(range(7)),
    },
    train_files="train_image_data_*.parquet",
    labels_file="train.csv",
    test_files="test_image_data_*.parquet",
    id_column="image_id",
    sample_submission="sample_submission.csv",
    score="macro recall",
    score_weights={"grapheme_root": 2.0, "vowel_diacritic": 1.0, "consonant_diacritic": 1.0},
    dark_ink=True,
    crop="ink",
    has_hidden_test=True,
    hidden_images=211_042,
    gpu_minutes=120,
    cpu_minutes=540,
)
DIGITS = Task(
    name="digit-recognizer",
    competition="digit-recognizer",
    reader="pixel csv",
    image_shape=(28, 28, 1),
    heads={"label": tuple(range(10))},
    train_files="train.csv",
    test_files="test.csv",
    sample_submission="sample_submission.csv",
    has_hidden_test=False,  # no code competition: all of its test images are seen
)
FASHION = Task(
    name="fashion-mnist",
    dataset="zalando-research/fashionmnist",
    reader="pixel csv",
    image_shape=(28, 28, 1),
    heads={"label": tuple(range(10))},
    train_files="fashion-mnist_train.csv",
    test_files="fashion-mnist_test.csv",
)
SIGNS = Task(
    name="sign-mnist",
    dataset="datamunge/sign-language-mnist",
    reader="pixel csv",
    image_shape=(28, 28, 1),
    heads={"label": tuple(i for i in range(25) if i != 9)},  # A to Y; J, as Z, is a movement
    train_files="sign_mnist_train.csv",
    test_files="sign_mnist_test.csv",
)
ANIMALS = Task(
    name="animals10",
    dataset="alessiocorrado99/animals10",
    reader="image files",
    image_shape=(128, 128, 3),
    heads={
        "label": (
            *("butterfly", "cat", "chicken", "cow", "dog"),
            *("elephant", "horse", "sheep", "spider", "squirrel"),
        )
    },
    class_folders={
        "cane": "dog",
        "cavallo": "horse",
        "elefante": "elephant",
        "farfalla": "butterfly",
        "gallina": "chicken",
        "gatto": "cat",
        "mucca": "cow",
        "pecora": "sheep",
        "ragno": "spider",
        "scoiattolo": "squirrel",
    },
    train_files="raw-img/*/*",
)

TASKS: Mapping[str, Task] = {task.name: task for task in (BENGALI, DIGITS, FASHION, SIGNS, ANIMALS)}


def glob_of(pattern: str) -> str:
    """Return a pattern of files for a search, without heads in braces."""
    return re.sub(rf"({PLACEHOLDER}|\*)+", "*", pattern)


def path_names(pattern: str, names: Mapping[str, Sequence[str]]) -> re.Pattern[str]:
    """Return a pattern of files as a regular expression with a group for each head that it places, by the head's name.

    names: for each head, what may stand in its place; if none, anything. Without braces, the only head stands where
    the last folder is left open.
    """
    folders = pattern.split("/")
    is_open = [number for number, folder in enumerate(folders[:-1]) if re.search(r"[*?[]", folder)]
    if len(names) == 1 and is_open and not re.search(PLACEHOLDER, pattern):
        folders[is_open[-1]] = "{" + next(iter(names)) + "}"
    text = ""
    for piece in re.split(r"(\{\w+\}|\*|\?|\[[^]]+\])", "/".join(folders)):
        if piece.startswith("{") and piece.strip("{}") in names:
            head = piece.strip("{}")
            known = "|".join(map(re.escape, sorted(names[head], key=len, reverse=True)))
            text += f"(?P<{head}>{known or '[^/]+?'})"
        else:
            text += {"*": "[^/]*?", "?": "[^/]"}.get(piece) or (
                piece.replace("[!", "[^") if piece.startswith("[") else re.escape(piece)
            )
    return re.compile(text, re.IGNORECASE)


def heads_in(pattern: str) -> list[str]:
    """Return the heads that a pattern of files has in braces."""
    return [found.strip("{}") for found in re.findall(PLACEHOLDER, pattern)]


def task_by_name(name: str) -> Task:
    """Return the task of that name; UserError lists the known ones."""
    if name not in TASKS:
        raise UserError(f"task: {name!r} is not known; one of {', '.join(TASKS)}, or that of a {TASK_FILE}")
    return TASKS[name]


def read_task(path: Path) -> Task:
    """Return a task of one's own from a TOML file; UserError for the first key that is not known or not possible."""
    task = task_from(read_toml(path), path.name)
    if task.name in TASKS:
        raise UserError(f"{path.name}: name = {task.name!r} is a task that is built in; choose another")
    return task


def task_from(values: Mapping[str, Any], source: str) -> Task:
    """Return a task from plain values, of TOML or JSON; the inverse of task_dict."""
    known = {of.name: of for of in fields(Task)}
    values = _with_columns(values)
    for key, value in values.items():
        if key not in known:
            raise UserError(f"{source}: {key} is not known; one of {', '.join(known)}")
        if not _RULES[key][0](value):
            raise UserError(f"{source}: {key} = {shortened(repr(value))}; expected {_RULES[key][1]}")
    for key, of in known.items():
        if key not in values and of.default is MISSING and of.default_factory is MISSING:
            raise UserError(f"{source}: no {key}; expected {_RULES[key][1]}")
    values = {"has_hidden_test": _may_have_hidden_test(values)} | dict(values)
    tuples = {key: tuple(values[key]) for key in ("image_shape",)}
    heads = {head: tuple(labels) for head, labels in values["heads"].items()}
    task = Task(**{**values, **tuples, "heads": heads})
    _refuse_contradictions(task, source)
    return task


def task_dict(task: Task) -> dict[str, Any]:
    """Return a task as plain values for JSON."""
    values = {of.name: getattr(task, of.name) for of in fields(Task)}
    heads = {head: list(labels) for head, labels in task.heads.items()}
    maps = {key: dict(values[key]) for key in ("columns", "class_folders", "score_weights")}
    return values | maps | {"heads": heads, "image_shape": list(task.image_shape)}


def what_answers_depend_on(task: Task | Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's plain values, without those that change no answer: how many are asked for, and in what time.

    task: or its plain values, as a manifest or a checkpoint holds them, an older version's too.
    """
    values = task_dict(task) if isinstance(task, Task) else task
    return {key: value for key, value in values.items() if key not in _OF_THE_SUBMISSION}


def _with_columns(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a task's values with heads that name their column, { column = "...", classes = [...] }, as two keys."""
    heads = values.get("heads")
    if not isinstance(heads, Mapping):
        return values
    tables = {head: table for head, table in heads.items() if isinstance(table, Mapping)}
    if not all(table.keys() == {"column", "classes"} for table in tables.values()):
        return values
    columns = {head: table["column"] for head, table in tables.items()}
    classes = {head: table["classes"] for head, table in tables.items()}
    return {**values, "heads": {**heads, **classes}} | ({"columns": columns} if columns else {})


def _may_have_hidden_test(values: Mapping[str, Any]) -> bool:
    """Tell whether a task that does not say so is taken to have a hidden test."""
    of_a_code_competition = ("competition", "test_files", "sample_submission")
    return bool(values.get("hidden_images")) or all(values.get(key) for key in of_a_code_competition)


def _refuse_contradictions(task: Task, source: str) -> None:
    for name in ("score_weights", "columns"):
        for key in getattr(task, name):
            if key not in task.heads:
                raise UserError(f"{source}: {name} names {key}, which is none of the heads {listed(task.heads)}")
    if bool(task.competition) == bool(task.dataset):
        raise UserError(f"{source}: expected either a competition or a dataset")
    if task.hidden_images and not task.has_hidden_test:
        raise UserError(f"{source}: hidden_images = {task.hidden_images}, but has_hidden_test = false")
    if task.reader == "wide parquet" and not (task.labels_file and task.test_files):
        raise UserError(f"{source}: wide parquet needs a labels_file and test_files")
    if task.reader != "image files" and not task.test_files:
        raise UserError(f"{source}: no test_files; only of image files can a fifth take their place")
    _refuse_places(task, source)
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
        if not labels or len(set(labels)) < len(labels) or len({type(label) for label in labels}) > 1:
            raise UserError(f"{source}: heads.{head}: expected different labels, all numbers or all texts")


def _refuse_places(task: Task, source: str) -> None:
    """Raise UserError where patterns of files do not say where the classes stand, or say so of what is no head."""
    for pattern in (task.train_files, task.test_files):
        placed = heads_in(pattern)
        for head in placed:
            if head not in task.heads or task.reader != "image files" or placed.count(head) > 1:
                expected = f"each of the heads {listed(task.heads)} at most once, and of image files"
                raise UserError(f"{source}: {pattern}: holds {{{head}}}; expected {expected}")
    placed = list(path_names(task.train_files, dict.fromkeys(task.heads, ())).groupindex)
    missing = [head for head in task.heads if head not in placed]
    if task.reader == "image files" and not task.labels_file and missing:
        raise UserError(
            f"{source}: train_files = {task.train_files!r} does not say where the class of {missing[0]} stands; write "
            f"{{{missing[0]}}} in its place, or name a labels_file"
        )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_heads(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(re.fullmatch(r"[A-Za-z]\w*", head) for head in value)
        and all(
            isinstance(of, list | tuple) and all(type(label) in (int, str) for label in of) for of in value.values()
        )
    )


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(type(length) is int and 1 <= length <= 4096 for length in value)
        and value[2] in (1, 3)
    )


def _maps_to(*kinds: type) -> Any:
    return lambda value: isinstance(value, Mapping) and all(type(of) in kinds for of in value.values())


def _is_weights(value: Any) -> bool:
    return _maps_to(int, float)(value) and all(0 < of <= sys.float_info.max for of in value.values())


_TEXT = (_is_text, "a text")


_PATTERN = (
    lambda value: _is_text(value) and not re.search(LEADS_OUT, value) and "**" not in value,
    "a pattern below the data folder, without .. and **",
)
_FILE = (
    lambda value: _PATTERN[0](value) and not re.search(r"[*?[]", value),
    "a file below the data folder, without ..",
)
_MINUTES = (lambda value: type(value) in (int, float) and 0 < value <= sys.float_info.max, "a number of minutes over 0")
_BOOL = (lambda value: isinstance(value, bool), "true or false")
# For each key: whether a value is possible, and what is expected
_RULES: Mapping[str, tuple[Any, str]] = {
    "name": (lambda value: _is_text(value) and bool(value), "a text"),
    "reader": (lambda value: value in READERS, f"one of {', '.join(READERS)}"),
    "image_shape": (_is_shape, "height, width and channels, 1 or 3"),
    "heads": (
        _is_heads,
        "names of letters, digits and _, each with a list of class labels, or { column = ..., classes = [...] }",
    ),
    "train_files": (lambda value: _PATTERN[0](value) and bool(value), _PATTERN[1]),
    "competition": _TEXT,
    "dataset": (lambda value: _is_text(value) and bool(re.fullmatch(r"([^/]+/[^/]+)?", value)), "owner/slug"),
    "test_files": _PATTERN,
    "labels_file": _FILE,
    "class_folders": (_maps_to(str), "a table of texts"),
    "id_column": _TEXT,
    "id_has_suffix": _BOOL,
    "sample_submission": _FILE,
    "score": (lambda value: value in SCORES, f"one of {', '.join(SCORES)}"),
    "score_weights": (_is_weights, "a table of finite numbers over 0"),
    "dark_ink": _BOOL,
    "columns": (_maps_to(str), "a table of texts"),
    "background": (lambda value: value in BACKGROUNDS, "white or black"),
    "bits": (lambda value: type(value) is int and (value == 0 or 8 <= value <= 16), "8 to 16, or 0 to find out"),
    "crop": (lambda value: value in CROPS, f"one of {', '.join(CROPS)}"),
    "has_hidden_test": _BOOL,
    "hidden_images": (lambda value: type(value) is int and value >= 0, "a whole number, at least 0"),
    "gpu_minutes": _MINUTES,
    "cpu_minutes": _MINUTES,
}
