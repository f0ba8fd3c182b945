"""What files are called, which names are those of no data, and patterns of names.

A pattern is a glob below the data folder, in which {head} stands for the class of a head.
"""

import re
from collections.abc import Mapping, Sequence

SETTINGS_FILE, TASK_FILE = "settings.toml", "task.toml"  # the second beside the first
WEIGHTS_FILE, MANIFEST_FILE = "model.weights.h5", "manifest.json"
HISTORY_FILE, CHECKPOINT_FILE = "history.csv", "checkpoint.npz"
OUT_OF_FOLD_FILE = "out_of_fold.npz"  # answers to the images that a training held out
SOFT_LABELS_FILE = "soft_labels.npz"  # of the same form: what a network says of images without labels
ENSEMBLE_FILE = "ensemble.toml"  # of a study, beside its weights
TRIAL_LOG_FILE = "log.txt"  # of one of several trainings of a kernel
REPORT_FOLDER, RECORD_FILE, PAGE_FILE = "report", "record.npz", "index.html"  # the files in the folder
SUBMISSION_FILE, PREDICTIONS_FILE = "submission.csv", "predictions.csv"  # the second without a sample to answer
TRUTH_FILE = "truth.csv"

IMAGE_SUFFIXES = {  # of what OpenCV or Pillow decodes
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".bmp", ".gif", ".webp"),
    *(".avif", ".tif", ".tiff", ".pgm", ".ppm"),
}
PLACEHOLDER = r"\{\w+\}"
LEADS_OUT = r"^[/~]|^[A-Za-z]:|\\|(^|/)\.\.(/|$)"  # of the data folder, on any system
_LEFT_BY_SYSTEMS = {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir"}


def named(file: str, name: str) -> str:
    """Return how weights or their manifest are called where they have a name, as those of an ensemble do."""
    return f"{name}.{file}" if name else file


def name_of_weights(file: str) -> str | None:
    """Return the name in what a file of weights is called, "" where they have none; None where it is none of ours."""
    if file == WEIGHTS_FILE:
        return ""
    return file.removesuffix(f".{WEIGHTS_FILE}") if file.endswith(f".{WEIGHTS_FILE}") else None


def is_left_by_system(name: str) -> bool:
    """Tell whether a file's or folder's name is that of something no person put there.

    Names that begin with a dot, macOS's, Jupyter's and git's among them, and the caches of macOS's zips and Windows.
    """
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def without_suffix(name: str) -> str:
    """Return a name or path without an image's suffix, if it has one."""
    bare, point, suffix = name.rpartition(".")
    return bare if point + suffix.lower() in IMAGE_SUFFIXES else name


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
