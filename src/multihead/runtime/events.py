"""What a run tells a program that watches it: one JSON object a line, in a file that the program names."""

import contextlib
import json
import os
from pathlib import Path

FILE_PREDICTED, STAGES = "file predicted", "stages"  # the events of a prediction: after each file, and at its end
EVENTS_VARIABLE = "MULTIHEAD_EVENTS"  # the environment variable with the path of the file; without it none is written


def tell(event: str, **values: str | float) -> None:
    """Append an event to the file, if there is one to be written to: no run fails for it."""
    if path := os.environ.get(EVENTS_VARIABLE):
        with contextlib.suppress(OSError), Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **values}) + "\n")
