"""A kernel in the form that its metadata choose: a script or a notebook."""

from collections.abc import Callable, Mapping
from pathlib import Path

from bundler.build.notebook import build_notebook
from bundler.build.script import build_script
from bundler.metadata import NOTEBOOK, SCRIPT

BUILDERS: Mapping[str, Callable[[Path, Path, str], bytes]] = {SCRIPT: build_script, NOTEBOOK: build_notebook}


def build_kernel(form: str, package: Path, settings: Path, command: str) -> bytes:
    """Return the source of the kernel that runs `command` of the package with these settings.

    form: SCRIPT or NOTEBOOK. Raises BundlerError as the builder of that form does.
    """
    return BUILDERS[form](package, settings, command)
