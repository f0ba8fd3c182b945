"""Run a built script or notebook in a stand-in of Kaggle's machine.

It gets a process of its own that can import only what Kaggle's image has and what it carries,
no network, nothing of the person's home, an empty working folder, its inputs under $KAGGLE_ROOT/input in the
old or the new mount form, Kaggle's environment variables, and so much memory. Its exit code and what it touched
are checked; what it left, by outputs.py.
"""

import contextlib
import json
import math
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.build.image import read_image
from bundler.build.library import read_library
from bundler.build.parts import IMAGE_FILE
from bundler.errors import BundlerError, RehearsalError
from bundler.metadata import NOTEBOOK, SUFFIXES, read_object
from bundler.rehearse import sandbox, watched_run
from bundler.rehearse.inputs import Inputs, refuse_to_empty
from bundler.rehearse.isolated import Spec
from bundler.rehearse.isolation import COMPARED, HIDDEN, READ_ONLY, strictest
from bundler.rehearse.links import MOST, ends_of_links, few_to_mount, links_in, links_on_the_way, state_of, walk
from bundler.repository import HERE
from multihead.config import EVENTS_VARIABLE
from multihead.config.files import TASK_FILE, TRUTH_FILE

MEMORY_GB = 29.0  # that Kaggle's machine has
REFUSED, EXCEPTION, ENTERED = "refused.txt", "exception.txt", "entered.txt"  # what the sandbox writes down
NOTEBOOK_RUN = "notebook_run.py"  # which only a notebook needs the packages of
EXECUTED = "executed.ipynb"  # a notebook with its outputs
EVENTS = "events.jsonl"  # what the kernel writes down
LONGEST = 300  # characters of an exception's message
MARKER = ".rehearsal"  # in a folder that a rehearsal made, and may empty
REPEATED = "repeated"  # in it: a test set of so many rows, which is its own
NEVER_LINKED = (TRUTH_FILE, MARKER)
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND")


@dataclass(frozen=True)
class Rehearsed:
    """A run that went well: its working folder, how it ended, the file of what it told, how it was kept offline."""

    working: Path
    ended: watched_run.Ended
    events: Path
    offline: str

    def __str__(self) -> str:
        left = ", ".join(f"{f.name} {_size(f):,} bytes" for f in sorted(self.working.iterdir()))
        return "\n".join(
            [
                f"  wall time       {self.ended.seconds:.0f} s",
                f"  peak memory     {self.ended.peak_bytes / 1e9:.2f} GB ({self.ended.measured})",
                f"  internet        {self.offline}",
                f"  left behind     {left or 'nothing'}",
            ]
        )


def rehearse(
    script: Path,
    inputs: Inputs,
    root: Path,
    mounts: str = "new",
    arguments: Sequence[str] = (),
    memory_gb: float = MEMORY_GB,
    minutes: float = math.inf,
) -> Rehearsed:
    """Run the script or notebook with `root` as Kaggle's /kaggle.

    Its output is passed on line by line and kept in root/log.txt, a notebook with its outputs in root/executed.ipynb.
    root is emptied first, if a rehearsal made it and no input lies in it, but for its own repeated test set. arguments:
    handed to the script. memory_gb: above it the run is ended, in 1e9 bytes; minutes: after them. Raises RehearsalError
    where Kaggle would have failed the run, or where it did what the run on Kaggle could not: reached for the network or
    for a path of home, changed its inputs. Then it is ended at once.
    """
    _refuse_paths_of_home(script)
    _lay_out(script, inputs, root, mounts)
    folders = [root / "input", *inputs.folders]
    walked = list(walk(folders))
    before, linked = state_of(walked), ends_of_links(walked, folders)
    spec, claims = _spec(root, folders, linked, links_on_the_way(walked), arguments, memory_gb)
    isolation = strictest(spec, root / "spec.json", claims)
    command = [*isolation.command, sys.executable, *_program(root, script), *arguments]
    environment = _environment(root, [*map(str, inputs.folders), *linked], arguments)
    limits = watched_run.Limits(memory_gb * 1e9, minutes, root / REFUSED)
    try:
        ended = watched_run.run(
            command, environment, root / "working", root / "log.txt", limits, is_supervised=isolation.is_supervised
        )
    except RehearsalError as error:
        raise RehearsalError(f"{script.name} {error}") from error
    changed = {path for path, _ in before.items() ^ state_of(walk(folders)).items()}
    if changed:
        raise RehearsalError(
            f"{script.name} changed its inputs ({min(changed)}), or something else did meanwhile; "
            "Kaggle mounts them read-only"
        )
    if refused := watched_run.first_line(root / REFUSED):
        raise RehearsalError(f"{script.name} {refused}, {ended.end}")
    if ended.code:
        raise RehearsalError(f"{script.name} {_end_in_words(ended, root)}")
    if not (root / "working").is_dir():  # a script that removes it removes ENTERED as well
        raise RehearsalError(f"{script.name} removed its working folder")
    if not (root / ENTERED).exists():
        raise RehearsalError(f"{script.name} ran, but the sandbox was not set up (all of it: {root / 'log.txt'})")
    shutil.rmtree(root / "tmp", ignore_errors=True)  # the script may have done so
    return Rehearsed(root / "working", ended, root / EVENTS, isolation.words)


def empty(root: Path, but: Path | None = None) -> None:
    """Make a folder, or empty one that an earlier rehearsal made; BundlerError for any other. but: what stays in it."""
    claim(root)
    for entry in root.iterdir():
        if entry.name != MARKER and not (but and but.is_relative_to(entry)):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def refuse_foreign(root: Path) -> None:
    """Raise BundlerError for a folder with files that no rehearsal made."""
    if root.exists() and any(root.iterdir()) and not (root / MARKER).exists():
        raise BundlerError(f"{root}: holds files that no rehearsal made; move them away, or name a folder to empty")


def claim(root: Path) -> None:
    """Make a folder, or take one that an earlier rehearsal made, to be emptied; BundlerError for any other."""
    refuse_foreign(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / MARKER).touch()


def _lay_out(script: Path, inputs: Inputs, root: Path, mounts: str) -> None:
    if os.pathsep in str(root.absolute()):
        raise BundlerError(f"{root}: holds {os.pathsep!r}, which parts folders from each other; name another folder")
    mounted = inputs.mounts(mounts)
    refuse_to_empty(root, "out", {str(folder): folder for folder in inputs.folders if folder != root / REPEATED})
    empty(root, but=inputs.data)
    for name in ("input", "working", "src", "tmp", "home", "site"):
        (root / name).mkdir(parents=True)
    shutil.copyfile(script, _source(root, script))
    shutil.copyfile(Path(__file__).with_name(NOTEBOOK_RUN), root / NOTEBOOK_RUN)
    shutil.copyfile(sandbox.__file__, root / "site" / "sitecustomize.py")
    for place, folder in mounted.items():
        (root / "input" / place).mkdir(parents=True)
        for entry in sorted(folder.iterdir()):
            if entry.name not in NEVER_LINKED:  # what only home has; a circle of links does not stop realpath
                (root / "input" / place / entry.name).symlink_to(os.path.realpath(entry))


def _source(root: Path, script: Path) -> Path:
    return root / "src" / f"script{script.suffix}"


def _program(root: Path, script: Path) -> list[str]:
    """Return what Python runs for a script or a notebook, but for its arguments."""
    source = str(_source(root, script))
    if script.suffix == SUFFIXES[NOTEBOOK]:  # the sandbox is for its kernel, not for what executes it
        return ["-I", "-u", str(root / NOTEBOOK_RUN), source, str(root / EXECUTED)]
    return ["-u", source]


def _refuse_paths_of_home(script: Path) -> None:
    """Raise RehearsalError for a source that names a folder of this machine, as settings or modules may."""
    homes = "|".join(re.escape(home) for home in _homes())
    lines = _lines_of_notebook(script) if script.suffix == SUFFIXES[NOTEBOOK] else _lines_of_script(script)
    for place, line in lines if homes else ():
        if found := re.search(rf"(?<![\w.~/-])(?:{homes})(?![\w.-])", line):
            raise RehearsalError(f"{place}: names {found[0]}, a folder of this machine only ({line.strip()[:100]})")


def _lines_of_script(script: Path) -> Iterator[tuple[str, str]]:
    """Yield each line after its place: in a module's file where it is one of a module."""
    module, first = "", 0
    for number, line in enumerate(script.read_text(encoding="utf-8").splitlines(), 1):
        if begun := re.match(r"MODULES\['(.+)'\] = ", line):
            module, first = f"src/{begun[1]}", number
        elif re.match(r"(TEXTS|BYTES|WHEELS) = ", line):
            module = ""
        yield f"{module}, line {number - first + 1}" if module else f"{script.name}, line {number}", line


def _lines_of_notebook(notebook: Path) -> Iterator[tuple[str, str]]:
    """Yield each line of the cells after its place: in a module's file where the cell writes one."""
    for cell in read_object(notebook)["cells"]:
        first, *lines = cell["source"].splitlines() or [""]
        if begun := re.fullmatch(r'%%writefile "\$ROOT/(src/.+)"', first):
            yield from ((f"{begun[1]}, line {number}", line) for number, line in enumerate(lines, 1))
        else:
            place = f"{notebook.name}, cell {cell['id']}"
            yield from ((f"{place}, line {number}", line) for number, line in enumerate([first, *lines], 1))


def _homes() -> list[str]:
    """Return the person's home folder and the repository's."""
    try:
        home = Path.home()
    except RuntimeError:  # nobody's
        return [str(HERE.root)]
    return [str(folder) for folder in (home, HERE.root) if folder != Path(folder.anchor)]


def _environment(root: Path, inputs: Sequence[str], arguments: Sequence[str]) -> dict[str, str]:
    is_open = root / "open.json"  # of very many links more than a variable takes
    is_open.write_text(json.dumps([str(root), *inputs, *_settings_files(arguments)]), encoding="utf-8")
    return {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ} | {
        "KAGGLE_ROOT": str(root),
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "HOME": str(root / "home"),
        "TMPDIR": str(root / "tmp"),
        "PYTHONPATH": str(root / "site"),
        "PYTHONNOUSERSITE": "1",
        sandbox.ALLOWED_VARIABLE: json.dumps(_importable()),
        sandbox.HOMES_VARIABLE: json.dumps(_homes()),
        sandbox.OPEN_VARIABLE: str(is_open),
        sandbox.REFUSED_VARIABLE: str(root / REFUSED),
        sandbox.EXCEPTION_VARIABLE: str(root / EXCEPTION),
        sandbox.ENTERED_VARIABLE: str(root / ENTERED),
        EVENTS_VARIABLE: str(root / EVENTS),
    }


def _settings_files(arguments: Sequence[str]) -> list[str]:
    """Return the settings file that the script is given instead of its own, and where a task beside it would be."""
    files = filter(Path.is_absolute, map(Path, arguments))
    return [str(path) for file in files for path in (file, file.with_name(TASK_FILE))]


def _spec(
    root: Path,
    folders: Sequence[Path],
    linked: list[str],
    links: Mapping[str, str],
    arguments: Sequence[str],
    memory_gb: float,
) -> tuple[Spec, list[str]]:
    """Return what the run gets of this machine at the strictest, and what of it is kept apart, in words.

    linked: what links in the folders lead to; links: those on the way there. Where these are more than can be mounted,
    the rest is only compared, and home is not hidden, for it may lie there.
    """
    python = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    homes = [os.path.realpath(home) for home in _homes() if Path(home).is_dir()]
    at_home = [path for path in map(os.path.realpath, python) if any(map(Path(path).is_relative_to, homes))]
    few = few_to_mount(linked)
    settings = [path for path in _settings_files(arguments) if Path(path).exists()]
    read_only = sorted({*(str(folder.resolve()) for folder in folders), *few[:MOST], *at_home, *settings})
    is_open = [root.resolve(), *map(Path, read_only)]
    for path in (sys.executable, *python, str(root.absolute()), *settings):
        links = {**links, **links_in(path)}
    hidden = [home for home in homes if len(few) <= MOST and not any(map(Path(home).is_relative_to, is_open))]
    claims = [READ_ONLY if len(few) <= MOST else COMPARED, *([HIDDEN] if hidden == homes else [])]
    return Spec(
        network=True,
        mounts=True,
        processes=True,
        root=str(root.resolve()),
        working=str(root.resolve() / "working"),
        read_only=read_only,
        homes=hidden,
        links=list(links.items()),
        parent=os.getpid(),
        shm_bytes=int(2 * memory_gb * 1e9),  # so that the limit of memory ends the run, not a full /dev/shm
    ), claims


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    return sum(f.stat().st_size for f in (path, *path.rglob("*")) if f.is_file())


def _end_in_words(ended: watched_run.Ended, root: Path) -> str:
    """Return how a run failed, in words."""
    if ended.code == -signal.SIGKILL:
        why = "this machine's memory was full" if ended.was_oom else "as the OOM killer of a full machine does"
        return f"was killed (SIGKILL, {why}) {ended.end}; its peak was {ended.peak_bytes / 1e9:.2f} GB"
    if ended.code < 0:
        return f"was ended by {_signal_name(-ended.code)} {ended.end} (all of it: {root / 'log.txt'})"
    lines = [line for line in ended.log.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "it said nothing"
    with contextlib.suppress(OSError):  # what was said at exit comes after it
        last = (root / EXCEPTION).read_text(encoding="utf-8") or last
    last = last if len(last) <= LONGEST else f"{last[:LONGEST]}..."
    return f"ended with exit code {ended.code}: {last}{_hint(last)} (all of it: {root / 'log.txt'})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _hint(last_words: str) -> str:
    """Return what helps with a module that is not there."""
    missing = re.search(r"No module named '(\w+)", last_words)
    if not missing:
        return ""
    if missing[1] not in _importable():
        return "; what Kaggle's image has stands in bundler/build/kaggle_image.toml"
    is_set_up = Path(sys.prefix).name == ".venv"
    return f"; Kaggle has it, {sys.executable} has not" + ("" if is_set_up else "; try .venv/bin/python")


def _importable() -> list[str]:
    """Return the top-level names that Kaggle's image and the library of its Python have."""
    return sorted({*read_image(IMAGE_FILE).names, *(name for name in read_library() if "." not in name)})
