#!/usr/bin/env python3
"""Build what is pushed to Kaggle, rehearse it at home, and push it: the command line of bundler/."""

import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - whoever starts it with an old one shall read one line
    print(f"error: Python 3.11 or newer is needed, not {sys.version.split()[0]}; .venv/bin/python", file=sys.stderr)
    sys.exit(2)
sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))  # this copy's own package, whatever is installed
try:
    from bundler.cli import main
except (ModuleNotFoundError, SyntaxError) as error:
    missing = getattr(error, "name", None) or ""
    is_own = missing.partition(".")[0] in ("", "bundler", "multihead")
    hint = "" if is_own else "; .venv/bin/python has what it needs"
    print(f"error: {error}{hint}", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    raise SystemExit(main())
