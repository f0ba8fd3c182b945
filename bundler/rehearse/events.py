"""What a rehearsed run told: the lines of the file that multihead.config.EVENTS_VARIABLE names."""

import json
from pathlib import Path
from typing import Any


def read_events(file: Path, name: str) -> list[dict[str, Any]]:
    """Return the values of all events of a name, in order; none of a file that is not there.

    A line that is not whole yet is left for the next time. What is no event of ours, another program wrote.
    """
    try:
        *lines, _ = file.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return []
    return [event for event in map(_event, lines) if event.pop("event", None) == name]


def _event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
