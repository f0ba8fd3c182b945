"""Models that take what was meant and nothing else, and what they refuse as one line."""

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import ConfigDict, Field, ValidationError
from pydantic_core import to_jsonable_python

from multihead.runtime.errors import UserError

T = TypeVar("T")

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)  # no text is a number, and neither is true
FROM_LIST = Field(strict=False)  # for a tuple: TOML and JSON have none
MANY = 8  # choices; of more, a message names the nearest
_OF_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "dict_type": "a table",
    "tuple_type": "a list",
    "literal_error": "a text",
}
_OF_VALUES = {
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "finite_number": "a finite number",
    "refused": "{msg}",  # of a validator, which says what it expects
}


@dataclass(frozen=True)
class Expected:
    """What a message says of a field, where its type alone would not say it.

    of_type: only for a value of another type; one out of bounds is told its bound, an item of a list for itself.
    """

    words: str
    of_type: bool = False


def validated(kind: type[T], values: Mapping[str, Any], source: str, shown: Callable[[Any], str] = repr) -> T:
    """Return a model of these values; UserError for the first of them that is not known or not possible.

    source: where the values stand. shown: how the message writes a value.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        raise UserError(f"{source}: {mistake(kind, values, error, shown)}") from error


def check_keys(kind: type[Any], values: Mapping[str, Any], source: str) -> None:
    """Raise UserError as validated does, but not where keys contradict each other: more of them are to come."""
    try:
        kind(**values)
    except ValidationError as error:
        if error.errors()[0]["loc"]:
            raise UserError(f"{source}: {mistake(kind, values, error)}") from error


def plain(model: Any) -> dict[str, Any]:
    """Return a model as plain values for JSON: the inverse of validated."""
    return dict(to_jsonable_python(model))


def mistake(kind: Any, values: Mapping[str, Any], error: ValidationError, shown: Callable[[Any], str] = repr) -> str:
    """Return the first thing that a model refused, in the order of its values, as one line."""
    places: dict[Any, int] = {(key,): place for place, key in enumerate(values)}
    details = min(error.errors(), key=lambda details: places.get(details["loc"][:1], len(places)))
    refusal, context = details["type"], details.get("ctx", {})
    if refusal == "value_error":  # a rule between keys, or of what a list holds: a line of its own
        return str(context["error"])
    fields, key, value = kind.__pydantic_fields__, str(details["loc"][0]), details["input"]
    if key not in fields:
        return f"{key} is not known; {suggestion(key, fields, cutoff=0.7)}"
    annotation = fields[key].annotation
    expected = next((item for item in fields[key].metadata if isinstance(item, Expected)), None)
    if key not in values:
        return f"no {key}" + (f"; expected {expected.words}" if expected else "")
    if annotation is float and type(value) is int:
        value = float(str(value))  # infinity where float(value) would be an error
        refusal = "finite_number" if refusal == "float_type" else refusal
    if expected and not (expected.of_type and refusal in _OF_VALUES):
        value, words = values[key], expected.words
    elif refusal == "literal_error" and (isinstance(value, str) or len(get_args(annotation)) <= MANY):
        words = f"one of {_nearest(get_args(annotation), str(value))}"
    else:
        words = (_OF_TYPES | _OF_VALUES).get(refusal, "{msg}").format(msg=details["msg"], **context).removesuffix(".0")
    return f"{key} = {shown(value)}; expected {words}"


def suggestion(name: str, choices: Collection[str], cutoff: float = 0.6) -> str:
    """Return what to say of a name that is none of the choices: which one is meant, or else all."""
    near = nearest(name, choices, cutoff)
    return f"did you mean {near}?" if near else f"one of {', '.join(choices)}"


def nearest(name: str, choices: Collection[str], cutoff: float = 0.6) -> str:
    """Return the choice that a name is meant to be, or "": one that differs only in case and marks, or a near one.

    cutoff: how near, from 0 to 1 (difflib.get_close_matches).
    """
    alike = [choice for choice in choices if _letters(choice) == _letters(name)]
    return next(iter(alike or difflib.get_close_matches(name, choices, 1, cutoff)), "")


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _nearest(choices: Sequence[str], value: str) -> str:
    """Return all choices, or of many those that are spelt most like the value."""
    if len(choices) <= MANY:
        return ", ".join(choices)
    nearest = difflib.get_close_matches(value, choices, MANY, cutoff=0)
    return f"{', '.join(nearest)}, or {len(choices) - MANY} more that docs/settings.md lists"
