"""JSON schemas of settings.toml and task.toml, by which an editor completes and checks them."""

from typing import Any

from pydantic import TypeAdapter

from multihead.config.files import SETTINGS_FILE, TASK_FILE
from multihead.config.further_images import KEY as FURTHER_IMAGES
from multihead.config.further_images import FurtherImages
from multihead.config.model_settings import ModelSettings
from multihead.config.scores import KINDS
from multihead.config.settings import RunSettings
from multihead.config.steps import BUILT_IN_STEPS
from multihead.config.task import Task

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def settings_schema() -> dict[str, Any]:
    """Return the schema of a settings file."""
    model, run = (TypeAdapter(kind).json_schema() for kind in (ModelSettings, RunSettings))
    steps = {name: TypeAdapter(step).json_schema() for name, step in BUILT_IN_STEPS.items()}
    built_in = [
        step | {"properties": {"name": {"const": name}} | step["properties"], "required": ["name"]}
        for name, step in steps.items()
    ]
    other = {"properties": {"name": {"type": "string", "not": {"enum": [*BUILT_IN_STEPS]}}}, "required": ["name"]}
    run["properties"][FURTHER_IMAGES] |= {"type": "array", "items": TypeAdapter(FurtherImages).json_schema()}
    run["properties"]["augmentation"]["items"] = {"type": "object", "anyOf": [*built_in, other]}
    return _file(SETTINGS_FILE, {"type": "object", "properties": {"model": model, "run": run}})


def task_schema() -> dict[str, Any]:
    """Return the schema of a task's file, in which a head may be a table of its column and its classes."""
    schema = TypeAdapter(Task).json_schema()
    heads = schema["properties"]["heads"]
    ((name, classes),) = heads["patternProperties"].items()
    count = {"type": "integer", "minimum": 1}
    properties = {
        "kind": {"type": "string", "enum": [*KINDS]},
        "column": {"type": "string"},
        "classes": {"anyOf": [classes, count]},
    }
    table = {"type": "object", "properties": properties, "additionalProperties": False}
    table["anyOf"] = [{"required": ["kind"]}, {"required": ["classes"]}]
    heads |= {"patternProperties": {name: {"anyOf": [classes, count, table]}}, "additionalProperties": False}
    return _file(TASK_FILE, schema)


def _file(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": DIALECT, **schema, "title": name, "additionalProperties": False}
