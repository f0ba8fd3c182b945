"""How one run goes, each setting with its default and bounds; and both halves of the settings together."""

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, NamedTuple, Self

from annotated_types import Predicate
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from multihead.config.checking import FROM_LIST, STRICT, Expected, plain, validated
from multihead.config.files import WEIGHTS_FILE
from multihead.config.further_images import Sources
from multihead.config.known_tasks import task_by_name
from multihead.config.model_settings import ModelSettings
from multihead.config.setting_types import TEXTS, PackageRequirement, PlainName, Precision, Xla
from multihead.config.steps import Steps
from multihead.config.task import Task

CLOSING_SECONDS = 120.0  # kept of a time budget for validating and saving, or for writing the submission
MAX_STUDY_FOLDS = 20
MAX_WORKERS = 64
WITHOUT_EFFECT = {  # settings of a run that decide nothing of what a training becomes
    *("data", "weights", "working", "resume", "require_gpu"),
    *("time_budget_minutes", "ensemble", "test_time_copies", "workers", "trials", "wheels"),
}


@dataclass(frozen=True, config=STRICT)
class RunSettings:
    """How one run goes. Folders left empty are looked for where Kaggle mounts them."""

    data: Annotated[str, Field(description="folder of the competition's files; empty: where Kaggle mounts them")] = ""
    weights: Annotated[
        str, Field(description="folder of the weights to predict with; empty: where Kaggle mounts them")
    ] = ""
    working: Annotated[str, Field(description="folder for the output; empty: Kaggle's working folder")] = ""

    pretrained: Annotated[
        str,
        Field(
            description=(
                "file of weights that the training starts from: a path, or where that is not there the last name in "
                "it, of a file in the working folder or any input. A published one of the backbone, or those of an "
                "earlier training, called as `build_kernel.py stage FOLDER --name NAME` does: "
                '"NAME.model.weights.h5", with the manifest beside it'
            )
        ),
    ] = ""
    frozen_up_to: Annotated[str, Field(description="name of a backbone layer; layers up to it are not trained")] = ""

    further_images: Annotated[
        Sources,
        Field(
            description=(
                "sources of images to train on beside those in data: a list of tables with folder, origin and licence; "
                "see docs/further-images.md"
            )
        ),
    ] = ()

    seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="seed of every random draw")] = 0
    epochs: Annotated[int, Field(ge=1, description="passes over all train images")] = 30
    batch_size: Annotated[int, Field(ge=1, description="images per training step, and per call in prediction")] = 128
    validation: Annotated[
        Literal["stratified", "unseen"],
        Field(
            description=(
                'which train images are held out: "stratified" draws them evenly over the label combinations;'
                ' "unseen" holds out whole combinations (up to half of them), so that the network never sees '
                "them in training"
            )
        ),
    ] = "stratified"
    validation_share: Annotated[
        float, Field(ge=0.001, le=0.5, description="share of the train images that is held out")
    ] = 0.08
    study_folds: Annotated[
        int,
        Predicate(lambda folds: folds == 0 or 2 <= folds <= MAX_STUDY_FOLDS),
        Expected(f"2 to {MAX_STUDY_FOLDS}, or 0 for no study"),
        Field(
            description=(
                "folds of a study, drawn evenly over the label combinations: the images of one are held out in place "
                "of validation_share, and the last epoch is saved; 0: no study. `multihead cross-validate` sets it"
            )
        ),
    ] = 0
    study_fold: Annotated[
        int, Field(ge=0, le=MAX_STUDY_FOLDS - 1, description="the fold of a study that is held out, from 0")
    ] = 0
    study_seed: Annotated[
        int,
        Field(ge=0, le=2**32 - 1, description="seed that the folds are drawn with; trainings of any seed share them"),
    ] = 0
    group_column: Annotated[
        str,
        Field(
            description=(
                "a column of the table of labels, such as the writer's or the patient's; rows with the same value "
                "lie in one fold of a study; empty: each row alone"
            )
        ),
    ] = ""
    time_budget_minutes: Annotated[
        float, Field(ge=0, description="time limit, counted from the start of the process; 0 means none")
    ] = 0.0
    resume: Annotated[
        Literal["auto", "required", "off"],
        Field(
            description=(
                '"auto" goes on from the furthest checkpoint of the same training, in the working folder or '
                'any input, and starts anew if there is none; "required" fails if there is none; "off" starts'
                " anew"
            )
        ),
    ] = "auto"

    optimizer: Annotated[Literal["adamw", "rmsprop"], Field(description="AdamW or RMSprop")] = "adamw"
    learning_rate: Annotated[float, Field(ge=1e-8, le=10, description="the highest learning rate of the schedule")] = (
        1e-3
    )
    min_learning_rate: Annotated[
        float, Field(ge=0, le=10, description="the last learning rate of the cosine schedule")
    ] = 1e-5
    schedule: Annotated[
        Literal["cosine", "plateau"],
        Field(
            description=(
                '"cosine" lowers the learning rate from learning_rate to min_learning_rate over all epochs; '
                '"plateau" multiplies it by plateau_factor after plateau_patience epochs without a better '
                "validation score, and ends the training after stop_patience such epochs"
            )
        ),
    ] = "cosine"
    warmup_epochs: Annotated[
        float, Field(ge=0, description="epochs, at most half of all, in which the learning rate rises from 0")
    ] = 1.0
    plateau_patience: Annotated[int, Field(ge=1, description="see schedule")] = 3
    plateau_factor: Annotated[float, Field(ge=0.01, le=0.99, description="see schedule")] = 0.5
    stop_patience: Annotated[int, Field(ge=1, description="see schedule")] = 10
    weight_decay: Annotated[float, Field(ge=0, le=1, description="of AdamW, applied to kernels only")] = 0.01
    ema_decay: Annotated[
        float,
        Field(
            ge=0,
            le=0.99999,
            description=(
                "decay per step of the moving average of the weights, which is validated and saved; 0 "
                "validates and saves the weights themselves"
            ),
        ),
    ] = 0.999
    gradient_accumulation: Annotated[
        int,
        Field(
            ge=1,
            description=(
                "batches whose gradients are averaged for one update of the weights, where a batch as large as "
                "all of them does not fit into the device's memory; batch statistics and the moving average go by "
                "batch all the same"
            ),
        ),
    ] = 1
    label_smoothing: Annotated[
        float, Field(ge=0, le=0.5, description="share of each target that is spread over all classes")
    ] = 0.0
    loss_weights: Annotated[
        Literal["score", "equal"],
        Field(
            description=(
                '"score" weights the heads\' losses as the task\'s score weights the heads; "equal" weights '
                "them equally"
            )
        ),
    ] = "score"

    augmentation: Annotated[
        Steps,
        Field(
            description=(
                "steps that each image of a training batch goes through, in order. Each is a table with the "
                'name of a built-in step ("affine", "flip") or of a transform of albumentations, and its '
                "arguments"
            )
        ),
    ] = ({"name": "affine", "rotation_degrees": 16.0, "zoom": 0.15, "shift": 0.15},)
    mixup_share: Annotated[float, Field(ge=0, le=1, description="share of the batches that are mixed by mixup")] = 0.25
    mixup_alpha: Annotated[float, Field(ge=0.01, description="mixup draws from Beta(alpha, alpha)")] = 0.4
    cutmix_share: Annotated[float, Field(ge=0, le=1, description="share of the batches that are mixed by cutmix")] = (
        0.25
    )
    cutmix_alpha: Annotated[float, Field(ge=0.01, description="cutmix draws from Beta(alpha, alpha)")] = 0.4
    clean_epochs: Annotated[
        int, Field(ge=0, description="last epochs, at most half of all, in which no batch is mixed")
    ] = 0

    ensemble: Annotated[
        tuple[PlainName, ...],
        FROM_LIST,
        TEXTS,
        Field(
            description=(
                "names of the weights whose predictions are averaged, as `build_kernel.py stage FOLDER --name"
                " NAME` put them into the dataset; empty: the weights without a name. If time is short, later"
                " members are skipped, file by file"
            )
        ),
    ] = ()
    test_time_copies: Annotated[
        int,
        Field(
            ge=0,
            le=32,
            description=(
                "test-time augmentation: how many jittered copies of each image are predicted and averaged "
                "with it, as many as the time budget allows. The copies use the affine and flip steps that "
                "the weights were trained with; if one member of an ensemble has none, there are no copies"
            ),
        ),
    ] = 0

    workers: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_WORKERS,
            description=(
                "processes that share the test files, or run trials, each on a GPU of its own or with its share of the "
                "cores; 0: one per visible NVIDIA GPU, or 1 where there is none"
            ),
        ),
    ] = 0
    trials: Annotated[
        tuple[Mapping[str, Any], ...],
        FROM_LIST,
        Expected("a list of tables", of_type=True),
        Field(
            description=(
                "trainings of one train kernel, `workers` at a time: for each a table of the settings in which it "
                "differs, such as { study_fold = 1 }. Each leaves its files in a folder named after these"
            )
        ),
    ] = ()

    require_gpu: Annotated[bool, Field(description="fail at once if no GPU is visible")] = False
    precision: Annotated[
        Precision,
        Field(
            description=(
                'of what the network computes; weights, losses and batch statistics are always float32. "auto" '
                "is float16 on a GPU with compute capability 7.0 or more (a T4), bfloat16 on a CPU that has it in "
                "hardware for the ResNets made for a CPU, else float32"
            )
        ),
    ] = "auto"
    xla: Annotated[
        Xla,
        Field(
            description=(
                'whether XLA compiles the network, which takes a while and makes a GPU faster; "auto" is on for a GPU '
                'that need not be deterministic. TensorFlow refuses "on" where it must be, JAX refuses "off"'
            )
        ),
    ] = "auto"
    deterministic: Annotated[
        bool,
        Field(description='make the same weights from the same seed, more slowly; on a CPU "auto" is float32 then'),
    ] = False
    wheels: Annotated[
        tuple[PackageRequirement, ...],
        FROM_LIST,
        TEXTS,
        Field(
            description=(
                'packages that Kaggle\'s image lacks, as pip takes them, such as "name==1.0". `build_kernel.py '
                "fetch-wheels` puts their wheels into the dataset, and the kernel installs them before it imports "
                "anything. The wheels are those that the script was built with, whatever is set later"
            )
        ),
    ] = ()

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.mixup_share + self.cutmix_share > 1:
            raise ValueError("mixup_share + cutmix_share is over 1; they are shares of the same batches")
        if self.frozen_up_to and not self.pretrained:
            raise ValueError("frozen_up_to without pretrained would freeze weights that know nothing")
        if PurePath(self.pretrained).name == WEIGHTS_FILE:
            rule = f"what a training leaves itself is called so; expected NAME.{WEIGHTS_FILE}"
            raise ValueError(f"pretrained = {self.pretrained!r}: {rule}")
        self._refuse_of_studies()
        return self

    def _refuse_of_studies(self) -> None:
        if not self.study_folds and (self.study_fold or self.group_column):
            key = "study_fold" if self.study_fold else "group_column"
            raise ValueError(f"{key} without study_folds; expected the number of folds")
        if self.study_folds and self.study_fold >= self.study_folds:
            raise ValueError(f"study_fold = {self.study_fold}; expected at most {self.study_folds - 1}")
        if self.study_folds and self.schedule == "plateau":
            raise ValueError('schedule = "plateau" chooses by the held-out images; in a study expected "cosine"')
        if self.study_folds and self.validation == "unseen":
            raise ValueError('validation = "unseen" in a study; expected group_column for groups that stay together')

    def deadline(self) -> float:
        """Return the seconds since the process started after which no batch is begun, to leave time for the end."""
        budget = self.time_budget_minutes * 60 or math.inf
        return budget - min(0.1 * budget, CLOSING_SECONDS)


class Settings(NamedTuple):
    """Both halves, the names of the model settings that were given rather than defaulted, and the task.

    known_task: None in a script without any, which predicts: the manifest of its weights has theirs.
    """

    model: ModelSettings
    run: RunSettings
    given_model_keys: frozenset[str]
    known_task: Task | None

    @property
    def task(self) -> Task:
        """The task; UserError where none is known."""
        return self.known_task or task_by_name(self.model.task)


settings_from, settings_dict = validated, plain  # the way from plain values, of TOML or JSON, and back
