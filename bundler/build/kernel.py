"""A kernel in the form that its metadata choose: a script or a notebook."""

from collections.abc import Callable, Mapping
from pathlib import Path

from bundler.build.notebook import build_notebook
from bundler.build.script import build_script
from bundler.metadata import NOTEBOOK, SCRIPT
from bundler.repository import HERE

BUILDERS: Mapping[str, Callable[..., bytes]] = {SCRIPT: build_script, NOTEBOOK: build_notebook}


def build_kernel(form: str, package: Path, settings: Path, command: str, dataset: Path = HERE.dataset) -> bytes:
    """Return the source of the kernel that runs `command` of the package with these settings.

    form: SCRIPT or NOTEBOOK. dataset: the folder of the wheels that the settings ask for. Raises BundlerError as the
    builder of that form does.
    """
    return BUILDERS[form](package, settings, command, dataset=dataset)
