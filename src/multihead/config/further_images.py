"""Further images of a training, beside those of its data: where they lie, what they count, and whose they are."""

from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from multihead.config.checking import STRICT, Expected, mistake
from multihead.config.task import File, Pattern

KEY = "further_images"


@dataclass(frozen=True, config=STRICT)
class FurtherImages:
    """One source of further images, in files as the task has them."""

    folder: Annotated[
        str,
        Expected("the path or the name of a folder"),
        Field(
            min_length=1,
            description=(
                "path of a folder with files as the task's train files; where there is none, the last name in it is "
                "that of a folder in the working folder or any input"
            ),
        ),
    ]
    origin: Annotated[
        str,
        Expected("where the images come from"),
        Field(min_length=1, description="where the images come from; stands in the manifest"),
    ]
    licence: Annotated[
        str,
        Expected("under what the images may be used"),
        Field(min_length=1, description="under what they may be used; stands in the manifest"),
    ]
    weight: Annotated[
        float, Field(ge=0, le=100, description="how often each of them comes in an epoch; a train image comes once")
    ] = 1.0
    fade_epochs: Annotated[
        float, Field(ge=0, description="epochs in which the weight falls to 0 in a straight line; 0: it stays")
    ] = 0.0
    files: Annotated[
        Pattern, Field(description="glob pattern of the files below the folder; empty: the task's train_files")
    ] = ""
    soft_labels: Annotated[
        File,
        Field(
            description=(
                "a file in the folder with the probabilities of each image, as `multihead label` leaves it; empty: the "
                "labels are where the task has them"
            )
        ),
    ] = ""

    def weight_in(self, epoch: int) -> float:
        """Return the weight in an epoch, counted from 0."""
        return self.weight * (max(0.0, 1 - epoch / self.fade_epochs) if self.fade_epochs else 1.0)


def _sources(value: Any) -> tuple[FurtherImages, ...]:
    """Return the sources of a list of tables; ValueError, as one line, for what is none."""
    if not isinstance(value, list | tuple):
        raise PydanticCustomError("refused", "a list of tables")
    sources = tuple(_source(table, f"{KEY} {number}") for number, table in enumerate(value, 1))
    names = [PurePath(source.folder).name for source in sources]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise ValueError(f"{KEY}: two folders are called {twice}; expected another name, such as by a link")
    return sources


def _source(table: Any, place: str) -> FurtherImages:
    if isinstance(table, FurtherImages):
        return table
    if not isinstance(table, dict):
        raise ValueError(f"{place} = {table!r}; expected a table with folder, origin and licence")
    try:
        return FurtherImages(**table)
    except ValidationError as error:
        raise ValueError(f"{place}: {mistake(FurtherImages, table, error)}") from error


Sources = Annotated[tuple[FurtherImages, ...], BeforeValidator(_sources)]
