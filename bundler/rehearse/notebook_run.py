"""Execute a notebook cell by cell, as papermill does on Kaggle, and pass its output on line by line.

A program that stands alone, started as `python -I -u notebook_run.py NOTEBOOK EXECUTED ARGUMENTS...`. The arguments
take the place of those in the cell with the tag "parameters". EXECUTED is the notebook with its outputs. It ends with 1
and one line as soon as a cell fails or the kernel dies. Only the kernel, a process that it starts, runs the cells.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

PARAMETERS, INJECTED = "parameters", "injected-parameters"  # tags, as papermill has them


class PassingOn(NotebookClient):  # type: ignore[misc]
    """A client that prints what the cells print, but for those whose outputs are hidden."""

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        is_hidden = cell.metadata.get("jupyter", {}).get("outputs_hidden", False)
        if msg["msg_type"] == "stream" and not is_hidden:
            print(msg["content"]["text"], end="", flush=True)
        return super().process_message(msg, cell, cell_index)


def main(arguments: Sequence[str]) -> int:
    """Execute the notebook of the arguments; return 0, or 1 after one line about what failed."""
    source, executed, *own = arguments
    notebook = with_arguments(nbformat.read(source, as_version=nbformat.NO_CONVERT), own)
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # or the kernel's debugger, which nobody uses, warns
    try:
        PassingOn(notebook, timeout=None, kernel_name="python3").execute()
    except CellExecutionError as error:
        print(f"{error.ename}: {error.evalue}", flush=True)
        return 1
    except DeadKernelError as error:
        print(f"the notebook's kernel ended: {error}", flush=True)
        return 1
    finally:
        nbformat.write(notebook, executed)
    return 0


def with_arguments(notebook: Any, arguments: Sequence[str]) -> Any:
    """Return a notebook with a cell of these arguments after the one that holds its own, if there are any."""
    places = [place for place, cell in enumerate(notebook.cells) if PARAMETERS in cell.metadata.get("tags", [])]
    if arguments:
        cell = nbformat.v4.new_code_cell(f"ARGUMENTS = {list(arguments)!r}", id=INJECTED, metadata={"tags": [INJECTED]})
        notebook.cells.insert(places[0] + 1 if places else 0, cell)
    return notebook


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
