"""What a competition or data set asks for: its files, its images, its heads, its score.

A task of one's own is a task.toml beside settings.toml, its keys those of Task; those in the folder tasks are built in.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal, get_args

from annotated_types import Predicate
from pydantic import Field
from pydantic.dataclasses import dataclass

from multihead.config.checking import FROM_LIST, STRICT, Expected, plain
from multihead.config.files import LEADS_OUT, SUBMISSION_FILE, glob_of
from multihead.config.scores import (
    ANSWERS,
    KINDS,
    ONE_OF,
    SCORES,
    Kind,
    is_answer,
    is_score,
)

Label = int | str
FileForm = Literal["wide parquet", "pixel csv", "image files"]
Crop = Literal["ink", "padded", "none"]

FILE_FORMS, CROPS = get_args(FileForm), get_args(Crop)
FOLDS = 5  # of a task without test files
OF_THE_SUBMISSION = {"submission_file", "has_hidden_test", "hidden_images", "gpu_minutes", "cpu_minutes"}
Pattern = Annotated[
    str,
    Predicate(lambda text: not re.search(LEADS_OUT, text) and "**" not in text),
    Expected("a pattern below the data folder, without .. and **"),
]
File = Annotated[
    str,
    Predicate(lambda text: not re.search(rf"{LEADS_OUT}|[*?[]", text)),
    Expected("a file below the data folder, without .."),
]
Amount = Annotated[int | float, Field(gt=0, le=sys.float_info.max)]
Minutes = Annotated[Amount, Expected("a number of minutes over 0")]
Packed = Annotated[
    str,
    Predicate(lambda text: bool(re.fullmatch(r"[^/\\.][^/\\]*\.(csv|parquet|zip)", text, re.IGNORECASE))),
    Expected("a name that ends in .csv, .parquet or .zip"),
]
HeadName = Annotated[str, Field(pattern=r"^[A-Za-z]\w*$")]
Texts = Annotated[Mapping[str, str], Expected("a table of texts")]


@dataclass(frozen=True, config=STRICT)
class Task:
    """One competition or data set."""

    name: Annotated[
        str, Field(min_length=1, description="how settings and manifests refer to the task"), Expected("a text")
    ]
    reader: Annotated[
        FileForm,
        Expected(f"one of {', '.join(FILE_FORMS)}"),
        Field(
            description=(
                '"wide parquet": rows of an id and a column per pixel ("0", "1", ...). "pixel csv": rows of a'
                ' column per pixel ("pixel0" or "pixel1" and so on). "image files": JPEG, PNG and others'
            )
        ),
    ]
    image_shape: Annotated[
        tuple[int, int, int],
        FROM_LIST,
        Predicate(lambda shape: all(1 <= length <= 4096 for length in shape) and shape[2] in (1, 3)),
        Expected("height, width and channels, 1 or 3"),
        Field(
            description=(
                "height, width and channels of an image; 3 channels are red, green and blue. Image files of "
                "any size are stretched to it, or to image_size of the settings if they are not cropped"
            )
        ),
    ]
    heads: Annotated[
        Mapping[HeadName, Annotated[tuple[Label, ...], FROM_LIST]],
        Expected(
            "names of letters, digits and _, each with a list of class labels, how many these are, or a table of kind, "
            "column and classes"
        ),
        Field(
            min_length=1,
            description=(
                "for each head, its class labels, or their number where they are 0, 1, ... The order of heads and of"
                ' labels is the order everywhere. { kind = "sigmoid", column = "Its column", classes = [...] } also'
                " says what kind it is, and how its column in the tables is called, if not as the head. A table"
                " without that column may have one column for each class, with 1 or 0"
            ),
        ),
    ]
    train_files: Annotated[
        Pattern,
        Field(
            min_length=1,
            description=(
                "glob pattern below the data folder. Without a labels_file the labels come from these files: "
                "from columns of a pixel CSV, or from the paths of image files. In a path, a head's name in "
                'braces stands for its class, as in "train/{label}.*.jpg"; without braces the class is the '
                'last folder that the pattern leaves open, as in "train/*/images/*"'
            ),
        ),
    ]
    competition: Annotated[
        str, Field(description="slug of the Kaggle competition that the files come from; either this or dataset")
    ] = ""
    dataset: Annotated[
        str,
        Field(
            pattern="^([^/]+/[^/]+)?$",
            description="owner/slug of the Kaggle data set that the files come from; either this or competition",
        ),
        Expected("owner/slug"),
    ] = ""
    test_files: Annotated[
        Pattern,
        Field(
            description=(
                "glob pattern below the data folder. Without it, a fifth of the train images is predicted "
                "instead, drawn evenly over the classes (of several heads, over their combinations); see fold"
                " in the settings"
            )
        ),
    ] = ""
    labels_file: Annotated[
        File,
        Field(description="a table of train labels with a column per head; it chooses the images to train on"),
    ] = ""
    columns: Annotated[
        Texts, Field(description="the columns of heads that have another name; in a task.toml, write them in heads")
    ] = field(default_factory=dict)
    kinds: Annotated[
        Mapping[str, Kind],
        Expected(f"a table of {', '.join(KINDS)}"),
        Field(
            description=(
                'what a head says of an image: "softmax", one of its classes; "sigmoid", any of them, in one column'
                ' parted by spaces or a column for each; "ordinal", one of its classes, which have an order, from the'
                ' least; "number", a number. In a task.toml, write them in heads. An image without a label of a head'
                " teaches that head nothing"
            )
        ),
    ] = field(default_factory=dict)
    class_folders: Annotated[
        Texts, Field(description="the class that a name in a path stands for, where the two differ")
    ] = field(default_factory=dict)
    id_column: Annotated[
        str,
        Field(
            description=(
                "the column of ids, where its name leaves a doubt: it is looked for in each table by this "
                "name, by the sample's, and by its values. Image files are identified by their names or "
                "paths; if no table names them, by the name, or without an id_column by the path below the "
                "data folder. Rows of a table are numbered only if no column could hold ids"
            )
        ),
    ] = ""
    id_has_suffix: Annotated[
        bool, Field(description="whether the ids of image files that no table names include the suffix")
    ] = True
    sample_submission: Annotated[
        File,
        Field(
            description=(
                "the file whose rows a submission must have; it chooses the images to predict. Without it, "
                "predictions.csv has a row per image"
            )
        ),
    ] = ""
    submission_file: Annotated[
        Packed,
        Field(description="what the submission is called: a CSV or a parquet file, or a zip that holds one"),
    ] = SUBMISSION_FILE
    answer: Annotated[
        str,
        Predicate(is_answer),
        Expected(f"one of {', '.join(ANSWERS)}"),
        Field(
            description=(
                'what is answered for an image: "label", a class; "probability", one of each class, or where the'
                ' sample has one column of the last of two; "ranking 5", the five likeliest classes; "labels", all'
                ' classes that it has; "number". The default follows from the score'
            )
        ),
    ] = "label"
    score: Annotated[
        str,
        Predicate(is_score),
        Expected(f"one of {', '.join(SCORES)}"),
        Field(
            description=(
                'how answers are scored, as docs/scores.md tells: "macro recall" is the mean recall over a head\'s'
                ' classes; "accuracy" is the share of images that are right. The default follows from answer and kinds'
            )
        ),
    ] = "accuracy"
    score_weights: Annotated[
        Mapping[str, Amount],
        Expected("a table of finite numbers over 0"),
        Field(description="weight of each head in the score; 1 if not given"),
    ] = field(default_factory=dict)
    dark_ink: Annotated[bool, Field(description="whether the ink is darker than the paper")] = False
    crop: Annotated[
        Crop,
        Expected(f"one of {', '.join(CROPS)}"),
        Field(description="default of the setting crop"),
    ] = "none"
    background: Annotated[
        Literal["", "white", "black"],
        Expected("white or black"),
        Field(
            description=(
                "the colour below transparent image files; default: white, or black where light ink is cropped"
            )
        ),
    ] = ""
    bits: Annotated[
        int,
        Predicate(lambda bits: bits == 0 or 8 <= bits <= 16),
        Expected("8 to 16, or 0 to find out"),
        Field(description="how many bits of 16-bit image files are in use; 0 finds out from the train images"),
    ] = 0
    has_hidden_test: Annotated[
        bool,
        Field(
            description=(
                "whether Kaggle runs the kernel again on a hidden test. If so, a fault in the visible test "
                "files is an error, since it would cost the submission; otherwise it costs only its own rows."
                " Default: true for a competition with test_files and a sample_submission"
            )
        ),
    ] = False
    hidden_images: Annotated[
        int,
        Expected("a whole number, at least 0"),
        Field(ge=0, description="number of images in the hidden test; 0 means unknown, and no time is projected"),
    ] = 0
    gpu_minutes: Annotated[
        Minutes,
        Field(description="how long the competition lets a submission run on a GPU; the default is a session's limit"),
    ] = 720
    cpu_minutes: Annotated[Minutes, Field(description="the same on a CPU")] = 720

    def weight(self, head: str) -> float:
        """Return the weight of a head in the score."""
        return self.score_weights.get(head, 1.0)

    def kind(self, head: str) -> Kind:
        """Return what a head says of an image."""
        return self.kinds.get(head, "softmax")

    def is_one_of(self, head: str) -> bool:
        """Tell whether an image has just one of a head's classes."""
        return self.kind(head) in ONE_OF

    def width(self, head: str) -> int:
        """Return in how many numbers a head's answer is kept: a probability per class, or one number."""
        return len(self.heads[head]) or 1

    @property
    def is_of_classes(self) -> bool:
        """Whether an image has just one class of each head."""
        return all(map(self.is_one_of, self.heads))

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
    def source(self) -> str:
        """Where on Kaggle its files come from: a competition's slug, or a data set's owner/slug."""
        return self.competition or self.dataset

    @property
    def slug(self) -> str:
        """The last part of where its files are mounted."""
        return self.source.rpartition("/")[2]


task_dict = plain  # a task as plain values for JSON; task_from is the way back


def what_answers_depend_on(task: Task | Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's plain values, without those that change no answer: how many are asked for, and in what time.

    task: or its plain values, as a manifest or a checkpoint holds them, an older version's too.
    """
    values = task_dict(task) if isinstance(task, Task) else task
    return {key: value for key, value in values.items() if key not in OF_THE_SUBMISSION}
