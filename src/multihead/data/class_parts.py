"""The parts that classes are spelled with, such as a grapheme's characters: a network may learn them beside its heads.

Classes share them, so that a rare class is spelled with parts that frequent classes have taught: R. Caruana, Multitask
Learning, 1997; of parts as attributes, C. Lampert et al., Learning to Detect Unseen Object Classes by Between-Class
Attribute Transfer, 2009.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multihead.config.task import Label, Task
from multihead.data.labels import MISSING, class_indices
from multihead.data.tables import Table
from multihead.runtime.errors import UserError, listed, shortened

PARTS = "parts"  # the network's output for them
COLUMNS = HEAD, LABEL, COMPONENT = "component_type", "label", "component"  # as Bengali.AI's class_map.csv has them
NO_PARTS = "0"


@dataclass(frozen=True)
class ClassParts:
    """The parts of every class.

    names: of all p parts, sorted. of_classes: for each head, which of them its classes have, float32 (classes, p) of 1
    and 0.
    """

    names: Sequence[str]
    of_classes: Mapping[str, NDArray[np.float32]]

    def targets(self, labels: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Return which parts n images have, float32 (n, p) of 1 and 0: those of the classes of all heads.

        labels: for each head, class indices (n,). The row of an image without a label of a head is NaN.
        """
        targets = np.maximum.reduce([table[labels[head]] for head, table in self.of_classes.items()])
        is_missing = np.any([labels[head] == MISSING for head in self.of_classes], axis=0)
        return np.where(is_missing[:, None], np.float32(np.nan), targets)

    def shares(self, labels: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Return which share of n images has each part, float32 (p,), over 0 and under 1.

        It is P. Laplace's rule of succession: as if one more image had all of them, and one none.
        """
        targets = self.targets(labels)
        known = targets[np.isfinite(targets).all(axis=1)]
        return np.asarray((known.sum(axis=0) + 1) / (len(known) + 2), np.float32)


def read_class_parts(path: Path, task: Task) -> ClassParts:
    """Return the parts of a task's classes, the characters of each one's component, from a table of COLUMNS.

    A component that is NO_PARTS or empty has none, spaces are none, and rows of other component types do not count.
    Raises UserError where the table is not there or damaged, a class has no row, or two, or a head is not softmax.
    """
    for head in task.heads:
        if task.kind(head) != "softmax":
            raise UserError(f"parts_file = {path.name!r}: {head} is {task.kind(head)}; expected softmax heads only")
        if head.removesuffix("_loss") == PARTS:
            raise UserError(f"parts_file = {path.name!r}: a head is called {head}, as what the parts add to a training")
    cells = Table(path).text(COLUMNS)
    cells.index = pd.Index([f"row {place + 2}" for place in range(len(cells))])
    components = {
        head: _components(cells[cells[HEAD] == head], head, classes, path) for head, classes in task.heads.items()
    }
    names = sorted({part for of_head in components.values() for component in of_head for part in component})
    if not names:
        raise UserError(f"{path}: no class has a component; expected texts whose characters are its parts")
    return ClassParts(
        names,
        {
            head: np.array([[part in component for part in names] for component in of_head], np.float32)
            for head, of_head in components.items()
        },
    )


def _components(rows: pd.DataFrame, head: str, classes: Sequence[Label], path: Path) -> list[str]:
    """Return the component of each of a head's classes without spaces, "" where it has no parts."""
    indices: NDArray[Any] = class_indices(rows[LABEL].rename(head), classes, path)
    is_repeated = pd.Index(indices).duplicated()
    if is_repeated.any():
        row = int(is_repeated.argmax())
        label = shortened(classes[indices[row]])
        raise UserError(f"{path}, {rows.index[row]}: {head} {label} stands here for the second time")
    found = dict(zip(indices.tolist(), rows[COMPONENT], strict=True))
    missing = [label for index, label in enumerate(classes) if index not in found]
    if missing:
        raise UserError(f"{path}: no row with the component of {head} {listed(missing)}")
    texts = [found[index] for index in range(len(classes))]
    return ["" if text == NO_PARTS else "".join(text.split()) for text in texts]
