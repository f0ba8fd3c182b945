#!/usr/bin/env python3
"""Build what is pushed to Kaggle, rehearse it at home, and push it: the command line of bundler/."""

import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - whoever starts it with an old one shall read one line
    sys.exit(f"error: Python 3.11 or newer is needed, this is {sys.version.split()[0]}; try .venv/bin/python")
sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))  # this copy's own package, whatever is installed
try:
    from bundler.cli import main
except ModuleNotFoundError as error:
    print(f"error: {error}; .venv/bin/python has what it needs", file=sys.stderr)
    raise SystemExit(2) from None

if __name__ == "__main__":
    raise SystemExit(main())
