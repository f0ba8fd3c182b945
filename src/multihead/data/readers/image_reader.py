"""Image files as a data folder holds them: which are to train on and which to predict, by a table or by their paths.

Their paths also say what ids they have where no table names them, and what classes where the pattern places those.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.data_files import matching
from multihead.config.files import IMAGE_SUFFIXES, glob_of, path_names, without_suffix
from multihead.config.task import Task
from multihead.data.identity import SEVERAL, match, one_form
from multihead.data.labels import label_indices, read_label_table
from multihead.data.readers.image_files import bits_of, in_shards
from multihead.data.readers.reader import ImagesToPredict, ImagesToTrain, Reader, name_of_ids
from multihead.data.split import fold_of, groups_by_labels
from multihead.data.targets import strata_of
from multihead.runtime.errors import UserError, listed, shortened
from multihead.runtime.log import ONCE, log

BESIDE_IMAGES = {".csv", ".tsv", ".txt", ".json", ".xml", ".md", ".html", ".py", ".ini"}  # passed over unsaid


@dataclass(frozen=True)
class Labelled:
    """The image files with labels.

    paths: theirs, sorted. labels: class indices, a row per path, index image id. without_label: the paths of others.
    without_image: the ids of labels that no file is there for.
    """

    paths: list[str]
    labels: pd.DataFrame
    without_label: Sequence[str] = ()
    without_image: Sequence[str] = ()


class ImageReader(Reader):
    """Reads image files, in shards drawn from all over the folder."""

    is_table = False

    def images_to_train(self, folder: Path) -> ImagesToTrain:
        found = self._labelled(folder)
        paths, labels = found.paths, found.labels
        bits = self.task.bits or bits_of(folder, paths)
        if bits and not self.task.bits:
            divided = f"their values are divided by {2 ** (bits - 8)}"
            log.info(f"16-bit images: {bits} bits are in use, so {divided}", extra=ONCE)
        task = replace(self.task, bits=bits)
        if not task.test_files:
            is_kept = ~self._is_in_fold(found)
            paths, labels = list(compress(paths, is_kept)), labels[is_kept]
        self._refuse_none(paths, folder)
        parts = in_shards(folder, paths, labels.index, task)
        return ImagesToTrain(task, parts, labels, found.without_label, found.without_image)

    def images_to_predict(self, folder: Path) -> ImagesToPredict:
        task = self.task
        if task.test_files:
            paths = find_images(folder, task.test_files)
            ids = pd.Index(own_ids(paths, task), dtype=str)
        else:
            found = self._labelled(folder)
            is_left_out = self._is_in_fold(found)
            paths, ids = list(compress(found.paths, is_left_out)), found.labels.index[is_left_out]
        self._refuse_none(paths, folder)
        form = self.sample(folder, paths)
        without_image: Sequence[str] = ()
        without_row: Sequence[str] = ()
        if form:
            matched = _Matched(form.every_image, paths, task.sample_submission)
            if matched.ambiguity:
                log.warning(matched.ambiguity, extra=ONCE)
            matched.refuse_none(
                task.test_files or f"{task.train_files}, of which a fifth is predicted for there are no test_files"
            )
            without_image = matched.without_image
            if glob_of(task.train_files) != glob_of(task.test_files):  # in one folder, the others are to train on
                without_row = matched.without_id
            paths, ids = matched.paths, form.every_image[matched.order]
        if not task.bits and bits_of(folder, paths):
            problem = "images to predict have 16 bits, which those that were trained on had not: all 16 are taken"
            log.warning(problem, extra=ONCE)
        return ImagesToPredict(in_shards(folder, paths, ids, task), form, without_image, without_row)

    def labels_to_predict(self, folder: Path) -> pd.DataFrame:
        task = self.task
        if not task.test_files:
            found = self._labelled(folder)
            return pd.DataFrame(found.labels[self._is_in_fold(found)])
        if len(path_names(task.test_files, dict.fromkeys(task.heads, ())).groupindex) < len(task.heads):
            raise UserError(f"the paths {task.test_files} name no classes")
        return self._labelled_by_path(folder, task.test_files).labels

    def _labelled(self, folder: Path) -> Labelled:
        task = self.task
        if not task.labels_file:
            return self._labelled_by_path(folder, task.train_files)
        paths = find_images(folder, task.train_files)
        form = self.sample(folder)
        labels = read_label_table(folder / task.labels_file, task, likely_ids=name_of_ids(form), there=paths)
        matched = _Matched(labels.index, paths, task.labels_file)
        if matched.ambiguity:
            raise UserError(matched.ambiguity)
        matched.refuse_none(task.train_files)
        without_label = matched.without_id
        if form and glob_of(task.train_files) == glob_of(task.test_files):  # one folder for both
            is_to_predict = set(match(form.every_image.tolist(), without_label).tolist())
            without_label = [path for row, path in enumerate(without_label) if row not in is_to_predict]
        return Labelled(matched.paths, labels.iloc[matched.order], without_label, matched.without_image)

    def _labelled_by_path(self, folder: Path, pattern: str) -> Labelled:
        """Return the images whose paths name their classes, with those; UserError for a name that is no class."""
        paths = find_images(folder, pattern)
        meant = {one_form(name): label for name, label in self.task.class_folders.items()}
        names = names_in_paths(paths, pattern, self.task).map(lambda name: meant.get(name, name))
        labels = label_indices(names, self.task, folder)
        return Labelled(paths, labels.set_index(pd.Index(own_ids(paths, self.task), dtype=str)))

    def _is_in_fold(self, found: Labelled) -> NDArray[np.bool_]:
        """Tell of each image whether it is in the fold, drawn evenly over the labels in a table or what paths name."""
        if self.task.labels_file:
            groups = groups_by_labels(strata_of(found.labels, self.task))
        else:
            names = names_in_paths(found.paths, self.task.train_files, self.task)
            groups = pd.Index(["/".join(map(str, row)) for row in names.itertuples(index=False)])
        return np.asarray(fold_of(groups) == self.fold)

    def _refuse_none(self, paths: Sequence[str], folder: Path) -> None:
        if not paths:
            raise UserError(f"too few images {glob_of(self.task.train_files)} in {folder} for fold {self.fold}")


class _Matched:
    """Which image files the ids of a table mean.

    order: the rows of ids that mean a file, int64, in the order of `paths`, theirs. without_image: the ids that mean
    none. without_id: the other paths.
    """

    def __init__(self, ids: pd.Index, paths: Sequence[str], table: str) -> None:
        self._ids, self._all_paths, self._table = ids, paths, table
        self._rows = rows = match(ids.tolist(), paths)
        self.order = np.argsort(rows, kind="stable")[int((rows < 0).sum()) :]
        self.paths = [paths[row] for row in rows[self.order].tolist()]
        self.without_image = ids[rows < 0].tolist()
        named = set(rows.tolist())
        self.without_id = [path for row, path in enumerate(paths) if row not in named]

    @property
    def ambiguity(self) -> str:
        """What is wrong with the first id that could mean two files, "" where none does."""
        if not (self._rows == SEVERAL).any():
            return ""
        name = str(self._ids[int((self._rows == SEVERAL).argmax())])
        could_be = [path for path in self._all_paths if match([name], [path])[0] == 0]
        return f"{self._table}: {shortened(name)} could be each of {listed(could_be)}; name their paths in it"

    def refuse_none(self, files: str) -> None:
        """Raise UserError where no id means a file."""
        if not self.paths:
            raise UserError(
                f"{self._table}: none of its ids ({listed(self._ids, 2)}) is a file of {files} "
                f"({listed(self._all_paths, 2)})"
            )


def find_images(folder: Path, pattern: str) -> list[str]:
    """Return the paths below the folder of the images that match, sorted; the case of a suffix does not count.

    Where none does, those in a zip that lies in place of their folder count. Says once how many files are passed over
    for their suffix: those that are not in BESIDE_IMAGES. Raises UserError if there are no images, or for a name that
    is not UTF-8.
    """
    files = sorted(matching(folder, glob_of(pattern)))
    found = [name for name in files if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    others = [name for name in files if Path(name).suffix.lower() not in IMAGE_SUFFIXES | BESIDE_IMAGES]
    if others:
        log.warning(
            f"{len(others)} files {pattern} in {folder} are passed over, for they do not end in one of "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}: {listed(others)}",
            extra=ONCE,
        )
    if not found:
        raise UserError(f"no images {pattern} in {folder}")
    for path in found:
        if any("\ud800" <= letter <= "\udfff" for letter in path):
            raise UserError(f"{folder}: the name {path!a} is not UTF-8")
    return found


def own_ids(paths: Sequence[str], task: Task) -> list[str]:
    """Return the ids of images that no table names: their files' names where tables hold those, else their paths.

    Where two names are the same, the paths are taken: there is no table that could not tell them apart.
    """
    if not task.id_column:
        return list(paths)
    names = [Path(path).name if task.id_has_suffix else without_suffix(Path(path).name) for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


def names_in_paths(paths: Sequence[str], pattern: str, task: Task) -> pd.DataFrame:
    """Return what paths call their images' classes: a row per path, a column per head, "" where they call them nothing.

    A pattern has a head's name in braces where its class stands; in one without, it is the last folder left open.
    """
    known = {head: list(map(one_form, (*task.class_folders, *map(str, task.heads[head])))) for head in task.heads}
    of_known, of_any = (path_names(one_form(pattern), names) for names in (known, dict.fromkeys(known, ())))
    matched = [of_known.fullmatch(one_form(path)) or of_any.fullmatch(one_form(path)) for path in paths]
    rows = [found.groupdict() if found else {} for found in matched]
    names = {head: [row.get(head) or "" for row in rows] for head in task.heads}
    return pd.DataFrame(names, index=list(paths), dtype=str)
