"""Plain values as the text of a TOML file."""

import json
import re
from collections.abc import Mapping
from typing import Any


def settings_text(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return tables of plain values as TOML, a line a key; read_toml is the way back."""
    return "".join(
        f"[{name}]\n" + "".join(f"{_toml_key(key)} = {_toml(value)}\n" for key, value in table.items())
        for name, table in tables.items()
    )


def _toml(value: Any) -> str:
    """Return plain values as TOML; a table on one line."""
    match value:
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{ {', '.join(f'{_toml_key(key)} = {_toml(item)}' for key, item in value.items())} }}"
        case str():
            return _text(value)
        case _:
            return json.dumps(value)


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else _text(key)


def _text(value: str) -> str:
    """Return a text as JSON writes it, which TOML reads but for two things: DEL as it is, and halves of characters."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
