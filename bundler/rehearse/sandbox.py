"""What a rehearsed process may do: import what Kaggle has, open what Kaggle has, reach no network.

Run by Python at start-up as `sitecustomize`, in the rehearsed process and in each that it spawns. So it
stands alone: it imports nothing of this project, and takes its settings from the environment.
"""

import errno
import importlib.machinery
import ipaddress
import json
import os
import site
import socket
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType, TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

ALLOWED_VARIABLE = "REHEARSAL_IMPORTS"  # JSON list of the import names that Kaggle's image and its Python have
HOMES_VARIABLE = "REHEARSAL_HOMES"  # JSON list of the folders that only this machine has
OPEN_VARIABLE = "REHEARSAL_OPEN"  # a file: JSON list of what is open to the process, wherever it lies
WITNESS_VARIABLE = "REHEARSAL_WITNESS"  # JSON object: where to see what such a folder holds, though it is hidden
REFUSED_VARIABLE = "REHEARSAL_REFUSED"  # a file: one line for each thing that was refused
EXCEPTION_VARIABLE = "REHEARSAL_EXCEPTION"  # a file: the exception that ended the first process
ENTERED_VARIABLE = "REHEARSAL_ENTERED"  # a file that is there once all of this is in force
SITE_FOLDERS = tuple(os.path.realpath(folder) for folder in [*site.getsitepackages(), site.getusersitepackages()])


PACKAGE = "/src/multihead/"  # in the path of each of its modules, wherever they are unpacked


class KaggleImports(importlib.machinery.PathFinder):
    """Python's own finder, blind to what is installed here but not in Kaggle's image.

    A module of this Python's library that Kaggle's newer one lacks is hidden from the package alone: what is installed
    for this Python may need it.
    """

    allowed: frozenset[str] = frozenset()

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the module's spec, or None, as for any module that is not there."""
        spec = super().find_spec(fullname, path, target)
        is_part = path is not None or fullname.endswith("__mypyc")  # a submodule, or a package's compiled part
        if spec is None or is_part or fullname in cls.allowed:
            return spec
        if fullname in sys.stdlib_module_names:
            return None if _is_imported_by_package() else spec
        # what a package there brings along in a folder of its own, as setuptools does, is that package's
        places = list(spec.submodule_search_locations or []) or [spec.origin or ""]
        return None if any(os.path.dirname(os.path.realpath(place)) in SITE_FOLDERS for place in places) else spec  # noqa: PTH120


def refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse, and note down, whatever leaves this machine; an audit hook."""
    host = _host_of(event, arguments)
    if host is None or _is_here(host):
        return
    _note(f"reached for the network ({event} {host}{_place()}); Kaggle's kernels have none")
    raise OSError(f"no network on Kaggle: {event} {host}")


class Homes:
    """The folders that only this machine has, and what in them is open all the same; its refuse is an audit hook."""

    # Audit events, with the places of their paths and of the folders that these are relative to. os.stat and what rests
    # on it raise none: what a script only looks for, and does not find, stays unseen
    READS: Mapping[str, tuple[tuple[int, int | None], ...]] = {
        "open": ((0, None),),
        "os.listdir": ((0, None),),
        "os.scandir": ((0, None),),
        "os.chdir": ((0, None),),
        "os.listxattr": ((0, None),),
        "os.getxattr": ((0, None),),
        "os.truncate": ((0, None),),
        "os.remove": ((0, 1),),
        "os.rmdir": ((0, 1),),
        "os.chmod": ((0, 2),),
        "os.chown": ((0, 3),),
        "os.utime": ((0, 3),),
        "os.setxattr": ((0, None),),
        "os.removexattr": ((0, None),),
        "os.rename": ((0, 2),),
        "os.link": ((0, 2),),
        "shutil.rmtree": ((0, None),),  # which only looks first
        "ctypes.dlopen": ((0, None),),
        "subprocess.Popen": ((0, None),),
        "os.posix_spawn": ((0, None),),
        "os.exec": ((0, None),),
    }
    MAKES: Mapping[str, tuple[tuple[int, int | None], ...]] = {
        "os.mkdir": ((0, 2),),
        "os.rename": ((1, 3),),
        "os.link": ((1, 3),),
        "os.symlink": ((1, 2),),
        "sqlite3.connect": ((0, None),),
    }

    def __init__(self, homes: Sequence[str], is_open: Sequence[str], witnesses: Mapping[str, str]) -> None:
        python = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
        self._homes, self._open, self._python = _folders(homes), _folders([*is_open, *python]), _folders(python)
        self._witnesses = witnesses

    def holds(self, path: str) -> str:
        """Return where a path leads if that is a place of this machine only, else nothing.

        It counts how the path is written, whose links are left as they are (inputs are some), and where it ends.
        """
        full = "/" + os.path.abspath(path).lstrip("/")  # noqa: PTH100 - of two slashes it leaves two
        if f"{full}/".startswith(self._python):  # its links lead to its own
            return ""
        if self._is_hidden(full):
            return full
        end = os.path.realpath(path)  # of the path as it is written: .. leads up from where a link ends
        return end if self._is_hidden(end) else ""

    def _is_hidden(self, path: str) -> bool:
        return f"{path}/".startswith(self._homes) and not f"{path}/".startswith(self._open)

    def refuse(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse what is there on this machine only, as if it were not there, and note it down."""
        if event not in self.READS and event not in self.MAKES:
            return
        for path, is_made in self._paths(event, arguments):
            place = self.holds(path)
            if place and self._is_there(os.path.dirname(place) if is_made else place):  # noqa: PTH120
                _note(f"reached for a path of this machine only ({place}{_place()}); Kaggle has no such file")
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def _paths(self, event: str, arguments: tuple[Any, ...]) -> Iterator[tuple[str, bool]]:
        """Yield the paths that an event is about, and whether each is to be made."""
        for events, makes in ((self.READS, False), (self.MAKES, True)):
            for place, base in events.get(event, ()):
                path = arguments[place]
                if isinstance(path, str | bytes | os.PathLike):
                    path = os.fsdecode(path)
                    if event == "sqlite3.connect" and path.startswith("file:"):
                        path = unquote(urlsplit(path).path)
                    handle = arguments[base] if base is not None else -1
                    folder = f"/proc/self/fd/{handle}" if isinstance(handle, int) and handle >= 0 else ""
                    is_created = event == "open" and bool(arguments[2] & os.O_CREAT)
                    yield os.path.join(folder, path), makes or is_created  # noqa: PTH118

    def _is_there(self, path: str) -> bool:
        """Tell whether there is something at a path, hidden or not; where that cannot be looked up, there is."""
        for home, witness in self._witnesses.items():
            if f"{path}/".startswith(f"{home}/"):
                return os.path.lexists(witness + path[len(home) :]) or not os.path.isdir(witness)  # noqa: PTH112
        return os.path.lexists(path)


def _folders(paths: Sequence[str]) -> tuple[str, ...]:
    """Return the beginnings of whatever is in these folders, by their own names and by what these are links to."""
    forms = (form(path) for path in paths for form in (os.path.abspath, os.path.realpath))
    return tuple({"/" + form.strip("/") + "/" for form in forms})


class Notes:
    """A file in which is written down what was refused; opened at once, for the script may use up all handles."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._open()

    def _open(self) -> None:
        self._handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        state = os.fstat(self._handle)
        self._identity = state.st_dev, state.st_ino

    def write(self, refused: str) -> None:
        """Add a line."""
        try:
            state = os.fstat(self._handle)
            is_ours = (state.st_dev, state.st_ino) == self._identity
        except OSError:
            is_ours = False
        if not is_ours:  # the script closed it, and may have opened another file in its place
            self._open()
        os.write(self._handle, " ".join(refused.splitlines()).encode("utf-8", "backslashreplace") + b"\n")


_notes = Notes(os.environ[REFUSED_VARIABLE]) if REFUSED_VARIABLE in os.environ else None


def _note(refused: str) -> None:
    if _notes:
        _notes.write(refused)


def _place() -> str:
    """Return " in " and the module of the package, and its line, that is at work, or nothing."""
    frame: FrameType | None = sys._getframe()
    while frame and PACKAGE not in frame.f_code.co_filename:
        frame = frame.f_back
    return f" in {_in_repository(frame.f_code.co_filename)}, line {frame.f_lineno}" if frame else ""


def _in_repository(module: str) -> str:
    """Return where a person finds a module that was unpacked somewhere."""
    return PACKAGE[1:] + module.rpartition(PACKAGE)[2]


def _is_imported_by_package() -> bool:
    frame: FrameType | None = sys._getframe(2)
    while frame and "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    return bool(frame and PACKAGE in frame.f_code.co_filename)


def tell_exception(file: str) -> None:
    """Have the exception that ends this process written down, though more may be said after it."""
    process, tell = os.getpid(), sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if os.getpid() == process:
            lines = [frame for frame in traceback.extract_tb(trace) if PACKAGE in frame.filename]
            place = f" ({_in_repository(lines[-1].filename)}, line {lines[-1].lineno})" if lines else ""
            Path(file).write_text(f"{_words(error)}{place}", encoding="utf-8", errors="backslashreplace")
        tell(kind, error, trace)

    sys.excepthook = hook


def _words(error: BaseException) -> str:
    """Return an exception's name and message in one line; of a group, its first one's after it."""
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__}: {error}: {_words(error.exceptions[0])}"
    lines = [line for line in "".join(traceback.format_exception_only(error)).splitlines() if line.strip()]
    return " ".join((lines[-1] if isinstance(error, SyntaxError) else " ".join(lines[:2])).split())


def _host_of(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Return the host that an audited event wants to reach, or None where it is about none."""
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        return _text(arguments[0])
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg") and isinstance(arguments[1], tuple):
        return _text(arguments[1][0]) if arguments[0].family in (socket.AF_INET, socket.AF_INET6) else None
    if event == "socket.getnameinfo":
        return _text(arguments[0][0])
    return None


def _is_here(host: str) -> bool:
    """Tell whether a host is this machine: its loopback, or its own name."""
    name = host.lower().rstrip(".")
    if name in ("", "localhost", "localhost.localdomain", "ip6-localhost", socket.gethostname().lower()):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(host))  # of fewer than four numbers
        except (OSError, UnicodeEncodeError):
            return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def _text(host: Any) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")


def only_kaggles() -> None:
    """Leave Python what it finds modules by on Kaggle: what .pth files and editable installs added goes."""
    KaggleImports.allowed = frozenset(json.loads(os.environ[ALLOWED_VARIABLE]))
    own = _folders([sys.prefix, sys.base_prefix, *os.environ["PYTHONPATH"].split(os.pathsep)])
    sys.path[:] = [path for path in sys.path if f"{os.path.abspath(path)}/".startswith(own)]  # noqa: PTH100
    sys.meta_path[:] = [finder for finder in sys.meta_path if _module_of(finder) in FINDERS]
    sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = KaggleImports


FINDERS = ("_frozen_importlib", "_frozen_importlib_external", "_distutils_hack")  # Python's, and that of setuptools


def _module_of(finder: object) -> str:
    return getattr(finder, "__module__", "") if isinstance(finder, type) else type(finder).__module__


def enter() -> None:
    """Put everything into force."""
    is_notebook = "ipykernel_launcher" in sys.orig_argv  # which tells no exception of its own; what it runs does
    if not is_notebook and (exception := os.environ.pop(EXCEPTION_VARIABLE, "")):  # not of what it starts in turn
        tell_exception(exception)
    is_open = json.loads(Path(os.environ[OPEN_VARIABLE]).read_text(encoding="utf-8"))
    witnesses = json.loads(os.environ.get(WITNESS_VARIABLE, "{}"))
    homes = Homes(json.loads(os.environ[HOMES_VARIABLE]), is_open, witnesses)
    only_kaggles()
    sys.addaudithook(refuse_network)
    sys.addaudithook(homes.refuse)
    Path(os.environ[ENTERED_VARIABLE]).touch()


if __name__ == "sitecustomize":
    try:
        enter()
    except BaseException as error:  # Python would report it and go on, without a sandbox
        print(f"error: the sandbox could not be set up ({error!r})", file=sys.stderr, flush=True)
        os._exit(1)
