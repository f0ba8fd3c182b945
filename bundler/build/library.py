"""The standard library that Kaggle's Python has on Linux: its modules, and the public names in each.

`python3.12 -m bundler.build.library` writes kaggle_library.txt anew, with the Python that Kaggle has, on Linux. The
list makes a build independent of the Python at home, and lets it look into modules without importing them.
"""

import contextlib
import importlib
import io
import pkgutil
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

LIBRARY_FILE = Path(__file__).resolve().parent / "kaggle_library.txt"
# Importing them prints, opens a browser or a window, or takes long; any name may be in them
UNREAD = ("antigravity", "idlelib", "this", "turtledemo")
# What libraries of the system decide; Kaggle's has them, the machine that writes the list may not
OPTIONAL = ("_dbm", "_gdbm", "dbm.gnu", "dbm.ndbm")
# Modules that others put into sys.modules
ALIASES = (
    *("os.path", "typing.io", "typing.re"),
    *("pyexpat.errors", "pyexpat.model", "xml.parsers.expat.errors", "xml.parsers.expat.model"),
)


def read_library(path: Path = LIBRARY_FILE) -> dict[str, frozenset[str]]:
    """Return {module: its public names, but for modules in it}; a * among them says that any may be in it."""
    lines = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {module: frozenset(names.split()) for module, _, names in lines}


def installed_library() -> dict[str, list[str]]:
    """Return {module: its names} of the Python that runs this, * where they are private or any may be in it."""
    found: dict[str, list[str]] = {name: ["*"] for name in (*UNREAD, *OPTIONAL)}
    waiting = sorted(sys.stdlib_module_names - found.keys())
    while waiting:
        name = waiting.pop()
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                module = importlib.import_module(name)
        except ImportError:  # another system's
            continue
        found[name] = ["*"] if _is_private(name) or hasattr(module, "__getattr__") else dir(module)
        inner = (f"{name}.{child.name}" for child in pkgutil.iter_modules(getattr(module, "__path__", ())))
        waiting += (child for child in inner if child not in found and not child.endswith(".__main__"))
    return found | {name: dir(sys.modules[name]) for name in ALIASES if name in sys.modules}


def _is_private(module: str) -> bool:
    """Tell whether a module's names are nobody's business: its own starts with an underscore, or it is a codec."""
    return any(part.startswith("_") for part in module.split(".")) or module.startswith(("encodings.", "lib2to3."))


def _text(library: Mapping[str, list[str]]) -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    head = f"# Python {version} on Linux: module: its public names, or * where any may be in it. See library.py.\n"
    # whether a package has its modules as names hangs on what else was imported
    public = {
        module: sorted(n for n in names if not n.startswith("_") and f"{module}.{n}" not in library)
        for module, names in library.items()
    }
    return head + "".join(f"{' '.join([f'{module}:', *public[module]])}\n" for module in sorted(public))


if __name__ == "__main__":
    LIBRARY_FILE.write_text(_text(installed_library()), encoding="utf-8")
