"""What the weights belong to: the settings that are frozen with them, each with its default and bounds."""

from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from multihead.config.backbones import check_architecture
from multihead.config.checking import FROM_LIST, STRICT, Expected
from multihead.config.setting_types import TEXTS, Backbone, Side
from multihead.config.task import FOLDS, Crop, Task


@dataclass(frozen=True, config=STRICT)
class ModelSettings:
    """What the weights belong to; predicting takes these from the manifest."""

    task: Annotated[
        str,
        Field(
            description=(
                "name of a built-in task or of the task.toml beside the settings file; default: that of the "
                "task.toml if there is one"
            )
        ),
    ] = "bengali"
    fold: Annotated[
        int,
        Field(
            ge=0,
            le=FOLDS - 1,
            description=(
                "for a task without test files: which fifth of the images is left out of the training and predicted"
            ),
        ),
    ] = 0
    backbone: Annotated[Backbone, Field(description="the network below the heads")] = "efficientnet-b0"
    image_size: Annotated[
        tuple[Side, Side],
        FROM_LIST,
        Expected("2 whole numbers", of_type=True),
        Field(description="height and width, in pixels, of the images that the network sees"),
    ] = (64, 64)
    crop: Annotated[
        Literal["task", Crop],
        Field(
            description=(
                '"ink" cuts out the box of the ink and stretches it to image_size; "padded" does the same but'
                ' keeps the proportions and pads with paper; "none" stretches the whole image; "task" does '
                "what the task says"
            )
        ),
    ] = "task"
    dropout: Annotated[
        float, Field(ge=0, le=0.9, description="share of the features that is dropped before the heads")
    ] = 0.0
    stack_layers: Annotated[
        tuple[str, ...],
        FROM_LIST,
        TEXTS,
        Field(
            description=(
                'the layers of backbone "stack", in order: "conv 32" (32 filters of 3 x 3 with ReLU, padded; '
                '"conv 32 valid" is not padded), "pool 2" (maximum of 2 x 2; "pool 2 same" pads the edge), '
                '"norm" (batch normalisation), "dropout 0.25", "dense 128" (with ReLU; features are flattened'
                " before the first one)"
            )
        ),
    ] = ()

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        check_architecture(self.backbone, self.image_size, self.stack_layers)
        return self

    def crop_of(self, task: Task) -> Crop:
        """Return how the images of a task are cropped, one of CROPS."""
        return task.crop if self.crop == "task" else self.crop

    def crops_of(self, task: Task) -> tuple[tuple[int, int], str]:
        """Return what models that see the same crops have in common."""
        return self.image_size, self.crop_of(task)

    def as_read(self, task: Task) -> Task:
        """Return the task with photographs of the size that the network sees, where they are taken whole."""
        is_taken_whole = task.reader == "image files" and self.crop_of(task) == "none"
        return replace(task, image_shape=(*self.image_size, task.image_shape[2])) if is_taken_whole else task
