"""The steps of an augmentation: those built in with what their arguments may be, and the form of all others."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from multihead.config.checking import STRICT, mistake

Step = Mapping[str, Any]  # its name, and its arguments beside it


@dataclass(frozen=True, config=STRICT)
class AffineStep:
    """A random turn, zoom and shift."""

    rotation_degrees: Annotated[float, Field(ge=0, le=180, description="greatest rotation either way")] = 0.0
    zoom: Annotated[float, Field(ge=0, le=0.9, description="greatest zoom, as a share of the size")] = 0.0
    shift: Annotated[float, Field(ge=0, le=0.9, description="greatest shift, as a share of the size")] = 0.0


@dataclass(frozen=True, config=STRICT)
class FlipStep:
    """A mirror image, left to right."""

    share: Annotated[float, Field(ge=0, le=1, description="share of the images that are mirrored")] = 0.5


BUILT_IN_STEPS: Mapping[str, type[AffineStep | FlipStep]] = {"affine": AffineStep, "flip": FlipStep}


def _whole_steps(value: Any) -> tuple[Step, ...]:
    """Return the steps of a list, those built in with all their arguments; ValueError, as one line, for what is none.

    Whether albumentations has a transform of that name is seen only where it is imported.
    """
    if not isinstance(value, list | tuple):
        raise PydanticCustomError("refused", "a list of tables")
    return tuple(_whole(step, f"augmentation {number}") for number, step in enumerate(value, 1))


def _whole(step: Any, place: str) -> Step:
    if not isinstance(step, dict) or not isinstance(step.get("name"), str):
        raise ValueError(f"{place} = {step!r}; expected a table with a text as its name")
    name, arguments = step["name"], {key: value for key, value in step.items() if key != "name"}
    if name in BUILT_IN_STEPS:
        try:
            return {"name": name} | asdict(BUILT_IN_STEPS[name](**arguments))
        except ValidationError as error:
            raise ValueError(f"{place} ({name}): {mistake(BUILT_IN_STEPS[name], arguments, error)}") from error
    for key, argument in arguments.items():
        try:
            json.dumps(argument, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{place} ({name}): {key} = {argument!r}; "
                "expected finite numbers, texts, true, false, and lists or tables of them"
            ) from error
    return step


Steps = Annotated[tuple[Step, ...], BeforeValidator(_whole_steps)]
