"""Run the rows one after the other, each in a process of its own with a limit of its own.

    python run_kit.py [--tiny] [--out FOLDER] [--seconds 480] [--only ROW ...]

Every figure is a line of figures.jsonl in FOLDER as soon as it is known; what the rows print is in log.txt. A row that
reaches its limit leaves what it had. `--tiny` goes the whole way with a small network, in a minute on a CPU.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.gpu.figures import Figures, read_figures, table
from benchmarks.gpu.rows import RECIPE, RECIPE_SECONDS, ROWS, TINY_ROWS, Row

KIT = Path(__file__).resolve().parents[2]
LOG = "log.txt"
SECONDS = 480.0
CLOSING_SECONDS = 5.0  # of this process, after the last row
LAST_LINES = 6  # of a row's output, which say why it failed


def run_all(names: Sequence[str], out: Path, seconds: float, *, is_tiny: bool) -> bool:
    """Run the rows within so many seconds; tell whether all of them came to their end."""
    ends = time.monotonic() + seconds - CLOSING_SECONDS
    rows = TINY_ROWS if is_tiny else ROWS
    is_complete = True
    with tempfile.TemporaryDirectory(prefix="gpu-kit-") as scratch:
        environment = _environment(Path(scratch))
        for name in names:
            reserved = RECIPE_SECONDS if RECIPE in names and name != RECIPE else 0.0
            limit = min(rows[name].limit, ends - time.monotonic() - reserved)
            if limit < rows[name].least:
                Figures(name, out).add("not begun", seconds_left=round(limit))
                is_complete = False
                continue
            print(f"== {name}: at most {limit:.0f} s", flush=True)
            # a script's folder comes before all others, with -m the working directory would: it may hold this package
            command = [sys.executable, str(KIT / "run_kit.py"), "--row", name, "--seconds", f"{limit:.1f}"]
            problem = run_process([*command, "--out", str(out), *(["--tiny"] * is_tiny)], environment, out / LOG, limit)
            if problem:
                Figures(name, out).add("failed", why=problem)
                is_complete = False
    return is_complete


def _environment(scratch: Path) -> dict[str, str]:
    """Return the environment of a row, with the kit's wheels unpacked below `scratch`."""
    site = scratch / "site"
    for wheel in sorted((KIT / "wheels").glob("*.whl")):  # without pip: all that they hold is what an import needs
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    paths = [str(KIT / "src"), str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "KERAS_BACKEND": "jax",
        "KERAS_HOME": str(scratch / "keras"),
        "KAGGLE_ROOT": str(scratch / "kaggle"),
        # rows of one backbone begin alike, and a second run on a machine finds what the first one compiled
        "JAX_COMPILATION_CACHE_DIR": str(Path(tempfile.gettempdir()) / "gpu-kit-compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TMPDIR": str(scratch),
        "MPLBACKEND": "agg",
        "TF_CPP_MIN_LOG_LEVEL": "2",  # or XLA's warnings while it compiles push a row's own lines out of sight
    }


def run_process(command: Sequence[str], environment: Mapping[str, str], log: Path, limit: float) -> str:
    """Run a command, its output appended to the log; return why it failed, with its last lines, or nothing."""
    with log.open("ab") as file:
        start = file.tell()
        try:
            done = subprocess.run(
                command, check=False, stdout=file, stderr=subprocess.STDOUT, env=environment, timeout=limit
            )
            why = f"exit code {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            why = f"ended after its limit of {limit:.0f} s"
    if not why:
        return ""
    lines = log.read_bytes()[start:].decode(errors="replace").splitlines()
    return f"{why}: {' / '.join(lines[-LAST_LINES:])}"


def run_row(name: str, row: Row, out: Path, limit: float, *, is_tiny: bool) -> None:
    """Measure one row in this process, which has the packages for it."""
    figures = Figures(name, out)
    if not row.network:
        from benchmarks.gpu.machine import measure_machine

        measure_machine(figures)
    elif name == RECIPE:
        from benchmarks.gpu.recipe import measure_recipe

        measure_recipe(row.network, figures, KIT, limit, out, is_tiny=is_tiny)
    else:
        from benchmarks.gpu.bench import measure_network

        measure_network(row.network, figures, KIT, is_tiny=is_tiny)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all rows, or one in this process; exit code 1 where a row failed or found no time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="the whole way with a small network, on a CPU")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")), help="folder for the figures")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after which all ends (default: %(default)g)")
    parser.add_argument("--only", action="append", help="this row only; more than one may be named")
    parser.add_argument("--row", help=argparse.SUPPRESS)  # the one that this process is for
    arguments = parser.parse_args(argv)
    rows = TINY_ROWS if arguments.tiny else ROWS
    names = arguments.only or list(rows)
    if unknown := next((name for name in names if name not in rows), ""):
        parser.error(f"--only {unknown}: expected {', '.join(rows)}")
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if arguments.row:
        run_row(arguments.row, rows[arguments.row], out, arguments.seconds, is_tiny=arguments.tiny)
        return 0
    is_complete = run_all(names, out, arguments.seconds, is_tiny=arguments.tiny)
    print("\n".join(table(read_figures(out))), flush=True)
    return 0 if is_complete else 1
