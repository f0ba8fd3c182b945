"""From the package to what is pushed to Kaggle. Standard library only; never imports multihead, reads it as text.

Only the module constraints, which no other imports, needs more.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - whoever starts it with an old one shall read one line
    sys.exit(f"error: Python 3.11 or newer is needed, this is {sys.version.split()[0]}; try .venv/bin/python")
