"""Kernels that do one thing each, in a package of their own, and what they are rehearsed with."""

import math
from pathlib import Path

from bundler.build.kernel import build_kernel
from bundler.metadata import SCRIPT, SUFFIXES
from bundler.rehearse.inputs import Inputs
from bundler.rehearse.rehearsal import Rehearsed, rehearse

GOOD = "print('working in', __import__('os').getcwd())"


def script_of(folder: Path, body: str, form: str = SCRIPT, **modules: str) -> Path:
    """Build the script or notebook of a package whose main has this body."""
    package = folder / "multihead"
    package.mkdir()
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    sources = {"__init__": "", "cli": f"def main(argv):\n{lines}    return 0\n", **modules}
    for name, source in sources.items():
        (package / f"{name}.py").write_text(source)
    (folder / "settings.toml").touch()
    script = folder / f"some_kernel{SUFFIXES[form]}"
    script.write_bytes(build_kernel(form, package, folder / "settings.toml", "train"))
    return script


def rehearsed(
    folder: Path,
    inputs: Inputs,
    body: str,
    mounts: str = "new",
    memory_gb: float = 29.0,
    minutes: float = math.inf,
    **modules: str,
) -> Rehearsed:
    script = script_of(folder, body, **modules)
    return rehearse(script, inputs, folder / "root", mounts, (), memory_gb, minutes)


def log_of(folder: Path) -> str:
    return (folder / "root" / "log.txt").read_text()
