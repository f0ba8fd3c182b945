"""The parts of a kernel as one notebook.

The cells stand in this order: settings and task to edit, each file of the package under its own name, the start, the
wheels, and last a cell that runs it all in a process of its own and one that shows what it left. The same
sources give the same bytes; a cell's id depends on what the cell is, never on its place.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bundler.build.imports import PACKAGE
from bundler.build.parts import (
    WHEELS_FOLDER,
    Parts,
    as_text,
    base64_literal,
    check_size,
    literal,
    quoted_lines,
    read_parts,
    sha256,
)
from bundler.build.start import start_text
from bundler.repository import HERE
from multihead.config.files import SETTINGS_FILE, TASK_FILE

Cell = dict[str, Any]
HIDDEN = {"_kg_hide-input": True, "_kg_hide-output": True, "jupyter": {"outputs_hidden": True, "source_hidden": True}}
PYTHON = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}
DIGITS = 16  # of a SHA-256 in a cell's id
PLAIN_PATH = r"[A-Za-z0-9_.+/-]+"  # which %%writefile takes as it stands
PROMPT = r"\s*(>>>|\.\.\.|In \[)"  # at the start of a text IPython takes these off its lines


def build_notebook(
    package: Path, settings: Path, command: str, wheels: Path = WHEELS_FOLDER, dataset: Path = HERE.dataset
) -> bytes:
    """Return the notebook that runs `command` of the package with these settings; its parts are those of read_parts.

    Raises BundlerError as read_parts does, and for a notebook that Kaggle would refuse for its size.
    """
    cells = _cells(read_parts(package, settings, command, wheels, dataset))
    notebook = {"cells": [*cells.values()], "metadata": PYTHON, "nbformat": 4, "nbformat_minor": 5}
    source = (json.dumps(notebook, ensure_ascii=False, indent=1) + "\n").encode()
    # the client sends it written anew, every letter beyond ASCII as an escape
    sizes = {name: len(json.dumps(cell)) for name, cell in cells.items()}
    check_size("notebook", max(len(source), len(json.dumps(notebook))), sizes)
    return source


def _cells(parts: Parts) -> dict[str, Cell]:
    """Return the cells in order, each by the name of what it holds."""
    files = {f"src/{path}": data for path, data in parts.files.items()}
    files["start.py"] = f"{start_text(parts.command, parts.attached)}{_START}".encode()
    files |= {f"wheels/{name}": data for name, data in parts.wheels.items()}
    return {
        "the title": _markdown("title", _title(parts)),
        "heading of settings": _markdown("heading-settings", "## Settings and task"),
        SETTINGS_FILE: _code("settings", f"SETTINGS = {literal(parts.settings)}"),
        TASK_FILE: _code("task", f"TASK = {parts.task if parts.task is None else literal(parts.task)}"),
        "the arguments": _code("arguments", _ARGUMENTS, {"tags": ["parameters"]}),
        "heading of files": _markdown("heading-files", _FILES_HEADING),
        "the folder": _code("folder", _folder(files)),
        **{path: _code(_id(path), _writing(path, data), HIDDEN) for path, data in files.items()},
        "the sums": _code("sums", _sums(files), HIDDEN),
        "heading of the run": _markdown("heading-run", _RUN_HEADING),
        "the run": _code("run", _RUN.replace("@COMMAND@", f"{PACKAGE} {parts.command}")),
        "heading of results": _markdown("heading-results", "## Results"),
        "the results": _code("results", _RESULTS),
    }


def _writing(path: str, data: bytes) -> str:
    """Return the source of the cell that writes a file byte for byte: by the magic where that can, else by Python."""
    by_magic, text = _text_for_magic(path, data), as_text(data)
    if by_magic is not None:
        return f'%%writefile "$ROOT/{path}"\n{by_magic}'
    if text is None:
        return f"import base64\n\n(ROOT / {path!r}).write_bytes(base64.b64decode({base64_literal(data)}))"
    return f"(ROOT / {path!r}).write_bytes({quoted_lines(text) if text else repr(text)}.encode())"


def _text_for_magic(path: str, data: bytes) -> str | None:
    """Return the text of a cell of which %%writefile makes the file, or None where it would make another one.

    The magic writes a final newline where there is none. A file that ends in an empty line has to keep it, whoever
    strips the ends of cells; a line break of any other kind may be made a newline by an editor.
    """
    text = as_text(data)
    if text is None or not re.fullmatch(PLAIN_PATH, path) or re.match(PROMPT, text) or text.startswith("\ufeff"):
        return None
    has_plain_lines = text.splitlines(keepends=True) == [f"{line}\n" for line in text.split("\n")[:-1]]
    is_whole = bool(text.strip()) and not text.endswith("\n\n")
    return text.removesuffix("\n") if has_plain_lines and is_whole else None


def _folder(paths: Iterable[str]) -> str:
    folders = sorted({path.rpartition("/")[0] for path in paths} - {""})
    return _FOLDER.replace("@PACKAGE@", PACKAGE) + "".join(
        f"(ROOT / {folder!r}).mkdir(parents=True, exist_ok=True)\n" for folder in folders
    )


def _sums(files: Mapping[str, bytes]) -> str:
    lines = (f"    {path!r}: {sha256(data)!r},\n" for path, data in files.items())
    return "SHA256 = {  # of what the cells above write, as it was built\n" + "".join(lines) + "}"


def _title(parts: Parts) -> str:
    text = _TITLE.replace("@NAME@", f"{PACKAGE} {parts.command}")
    if parts.attached:
        files = "".join(f"- {name}\n" for name in parts.attached.files)
        text += (
            f"Wheels that it installs from the dataset `{parts.attached.dataset}`, which must be attached:\n\n{files}\n"
        )
    return (
        text
        + "Licences of the wheels inside:\n\n"
        + "\n".join(f"- {n}: {licence}" for n, licence in parts.licences.items())
    )


def _id(path: str) -> str:
    """Return the id of the cell that writes a file: it stays as long as the path does."""
    return f"file-{sha256(path.encode())[:DIGITS]}"


def _markdown(name: str, source: str) -> Cell:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


def _code(name: str, source: str, metadata: Mapping[str, Any] | None = None) -> Cell:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": name,
        "metadata": dict(metadata or {}),
        "outputs": [],
        "source": source.removesuffix("\n"),
    }


_TITLE = """\
# @NAME@

One self-contained notebook for a Kaggle kernel without internet. It trains or applies a network that answers several
questions about an image at once; SETTINGS and TASK below say which images, which questions and how. Whoever reads the
code begins with `multihead/cli.py` and `multihead/commands.py`.

`build_kernel.py` of the project generated it from `src/`, `bundler/build/wheels/` and the kernel's `settings.toml`; a
change that should last belongs there.

"""

_FILES_HEADING = """\
## The package

SETTINGS, TASK and ARGUMENTS above are meant to be edited. The hidden cells below write the package's files into a
temporary folder, each under its own name; show a cell's code to read or edit a file."""

_RUN_HEADING = """\
## The run

The package runs in a process of its own. The files that were edited are named first."""

_ARGUMENTS = 'ARGUMENTS = []  # more of the command line, such as ["--set", "seed=1"]'

_FOLDER = """\
import atexit
import pathlib
import shutil
import tempfile

# outside the working folder, of which Kaggle keeps all files
ROOT = pathlib.Path(tempfile.mkdtemp(prefix="@PACKAGE@-"))
atexit.register(shutil.rmtree, ROOT, ignore_errors=True)
"""

_START = """

if __name__ == "__main__":  # processes that the run spawns import this file again
    import pathlib
    import sys

    run(pathlib.Path(__file__).resolve().parent, sys.argv[1:])
"""

_RUN = """\
import hashlib
import os
import subprocess
import sys
import threading

for path, expected in SHA256.items():
    found = hashlib.sha256((ROOT / path).read_bytes()).hexdigest() if (ROOT / path).is_file() else ""
    if found != expected:
        print(f"warning: {path} is {'not as it was built' if found else 'missing'}", flush=True)
(ROOT / "settings.toml").write_bytes(SETTINGS.encode())
(ROOT / "task.toml").unlink(missing_ok=True)
if TASK:
    (ROOT / "task.toml").write_bytes(TASK.encode())

# which a notebook sets for what it shows itself
of_notebook = ("MPLBACKEND", "CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR")
process = subprocess.Popen(
    [sys.executable, "-u", str(ROOT / "start.py"), *ARGUMENTS],
    env={name: value for name, value in os.environ.items() if name not in of_notebook},
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    encoding="utf-8",
    errors="replace",
)
last_words = [""]


def pass_on():
    for line in process.stdout:
        print(line, end="", flush=True)
        last_words[0] = line.strip() or last_words[0]


# in a thread: a process that it left running may keep the pipe open
reader = threading.Thread(target=pass_on, daemon=True)
reader.start()
try:
    code = process.wait()
except KeyboardInterrupt:  # which the process was sent as well, and saves what it has
    process.wait()
    raise
reader.join(timeout=10)
if code:
    how = f"exit code {code}" if code > 0 else f"signal {-code}"
    raise RuntimeError(": ".join(filter(None, [f"@COMMAND@ ended with {how}", last_words[0]])))
"""

_RESULTS = """\
try:  # nothing here is a reason to fail a run that has succeeded
    import html
    import json

    import pandas as pd
    from IPython.display import HTML, display

    working = pathlib.Path()
    for manifest in sorted(working.glob("**/manifest.json")):
        content = json.loads(manifest.read_text())
        score = content["score"]
        words = f"{score['name']} {score['total']:.4f}" if score else "no score"
        print(f"{manifest}: epoch {content['epoch']}, {words}")
    for table in sorted(working.glob("**/*.csv")):
        rows = pd.read_csv(table)
        print(f"{table}:")
        display(rows.tail(10) if table.name == "history.csv" else rows.head(10))
    for page in sorted(working.glob("**/report/index.html")):
        frame = html.escape(page.read_text(encoding="utf-8"))
        display(HTML(f'<div><iframe srcdoc="{frame}" width="100%" height="900"></iframe></div>'))
except Exception as error:
    print(f"the results are not shown: {error!r}")
"""
