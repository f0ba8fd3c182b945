"""What a competition asks for: its images, its heads, its files, its score."""

from collections.abc import Mapping
from dataclasses import dataclass

from multihead.errors import UserError


@dataclass(frozen=True)
class Task:
    """One competition.

    heads: for each head, in the order used everywhere, the tuple of its class labels. Arrays of
        labels hold indices into that tuple.
    score_weights: the weight of each head's macro recall in the score.
    image_shape: (height, width, channels) of an image as the files hold it.
    dark_ink: True where ink is darker than paper.
    train_files, test_files: glob patterns of the shards; labels_file: the table of train labels.
    """

    name: str
    competition: str
    image_shape: tuple[int, int, int]
    dark_ink: bool
    heads: Mapping[str, tuple[int, ...]]
    score_weights: Mapping[str, float]
    id_column: str
    train_files: str
    labels_file: str
    test_files: str
    sample_submission: str

    def row_id(self, image_id: str, head: str) -> str:
        """Return the submission's key for one image and one head."""
        return f"{image_id}_{head}"


BENGALI = Task(
    name="bengali",
    competition="bengaliai-cv19",
    image_shape=(137, 236, 1),
    dark_ink=True,
    heads={
        "grapheme_root": tuple(range(168)),
        "vowel_diacritic": tuple(range(11)),
        "consonant_diacritic": tuple(range(7)),
    },
    score_weights={"grapheme_root": 2.0, "vowel_diacritic": 1.0, "consonant_diacritic": 1.0},
    id_column="image_id",
    train_files="train_image_data_*.parquet",
    labels_file="train.csv",
    test_files="test_image_data_*.parquet",
    sample_submission="sample_submission.csv",
)

TASKS: Mapping[str, Task] = {task.name: task for task in (BENGALI,)}


def task_by_name(name: str) -> Task:
    """Return the task of that name; UserError lists the known ones."""
    if name not in TASKS:
        raise UserError(f"task: {name!r} is not known; one of {', '.join(TASKS)}")
    return TASKS[name]
