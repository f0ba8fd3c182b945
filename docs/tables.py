"""Write the tables of settings and of a task's keys into settings.md and tasks.md, from the models' JSON schemas.

PYTHONPATH=src .venv/bin/python docs/tables.py
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from multihead.config.checking import Expected
from multihead.config.further_images import KEY as FURTHER_IMAGES
from multihead.config.further_images import FurtherImages
from multihead.config.model_settings import ModelSettings
from multihead.config.schema import settings_schema, task_schema
from multihead.config.settings import RunSettings
from multihead.config.task import Task

DOCS = Path(__file__).resolve().parent
MANY = 12  # choices; of more, the page lists them elsewhere
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def tables() -> dict[str, str]:
    """Return each table by its name in the pages, as Markdown."""
    settings = settings_schema()["properties"]
    models = {
        "model": (ModelSettings, settings["model"]),
        "run": (RunSettings, settings["run"]),
        "task": (Task, task_schema()),
        "further": (FurtherImages, settings["run"]["properties"][FURTHER_IMAGES]["items"]),
    }
    return {name: "\n".join(_rows(*model)) + "\n" for name, model in models.items()}


def with_tables(page: str) -> str:
    """Return a page with the tables between its marks written anew."""
    of_name = tables()
    return BLOCK.sub(lambda block: f"{block[1]}{of_name[block[2]]}{block[3]}", page)


def _rows(kind: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    yield "| key | default | allowed | meaning |\n|---|---|---|---|"
    for key, values in schema["properties"].items():
        default = "required" if key in schema.get("required", ()) else f"`{_toml(values.get('default', {}))}`"
        expected = [item.words for item in kind.__pydantic_fields__[key].metadata if isinstance(item, Expected)]
        meaning = values["description"].replace("|", "\\|")
        yield f"| `{key}` | {default} | {expected[0] if expected else _allowed(values)} | {meaning} |"


def _allowed(values: Mapping[str, Any]) -> str:
    """Return in words what a schema allows."""
    choices = values.get("enum", ())
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices) if len(choices) <= MANY else "a name listed on this page"
    kind = {"boolean": "true or false", "integer": "a whole number", "string": "a text", "object": "a table"}
    words = kind.get(values.get("type", "number"), "a list" if values.get("type") == "array" else "a number")
    least, most = values.get("minimum"), values.get("maximum")
    if least is not None and most is not None:
        return f"{words}, {least:g} to {most:g}" if most < 2**31 else f"{words}, at least {least:g}"
    if least is not None:
        return f"{words}, at least {least:g}"
    return words


def _toml(value: Any) -> str:
    """Return a default as TOML has it, long ones shortened."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(item)}' for key, item in value.items())} }}" if value else "{}"
    return json.dumps(value)


if __name__ == "__main__":
    for path in sorted(DOCS.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        path.write_text(with_tables(page), encoding="utf-8", newline="\n")
