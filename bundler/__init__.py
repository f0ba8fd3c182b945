"""From the package to what is pushed to Kaggle. Of the package it imports multihead.config and nothing else.

Pydantic, which that needs, and the standard library: only the module constraints, which no other imports, needs more.
"""

import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - whoever starts it with an old one shall read one line
    sys.exit(f"error: Python 3.11 or newer is needed, this is {sys.version.split()[0]}; try .venv/bin/python")

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this copy's own, whatever is installed
