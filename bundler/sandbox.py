"""What a rehearsed process may do: import what Kaggle has, open what Kaggle has, reach no network.

Run by Python at start-up as `sitecustomize`, in the rehearsed process and in each that it spawns. So it
stands alone: it imports nothing of this project, and takes its settings from the environment.
"""

import errno
import fcntl
import importlib.machinery
import ipaddress
import json
import os
import site
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

ALLOWED_VARIABLE = "REHEARSAL_IMPORTS"  # JSON list of the import names that Kaggle's image has
LOOPBACK_VARIABLE = "REHEARSAL_LOOPBACK"  # set where the process has a network namespace of its own
HOMES_VARIABLE = "REHEARSAL_HOMES"  # JSON list of the folders that only this machine has
OPEN_VARIABLE = "REHEARSAL_OPEN"  # a file: JSON list of what is open to the process, wherever it lies
REFUSED_VARIABLE = "REHEARSAL_REFUSED"  # a file: one line for each thing that was refused
SITE_FOLDERS = tuple(
    os.path.realpath(folder) + os.sep for folder in [*site.getsitepackages(), site.getusersitepackages()]
)


class KaggleImports(importlib.machinery.PathFinder):
    """Python's own finder, blind to what is installed here but not in Kaggle's image."""

    allowed: frozenset[str] = frozenset()

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the module's spec, or None, as for any module that is not there."""
        spec = super().find_spec(fullname, path, target)
        if spec is None or path is not None or fullname in cls.allowed:
            return spec
        if fullname.endswith("__mypyc"):  # the compiled part of another package
            return spec
        places = [spec.origin, *(spec.submodule_search_locations or [])]
        is_hidden = any(os.path.realpath(place).startswith(SITE_FOLDERS) for place in places if place)
        return None if is_hidden else spec


def refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse, and note down, whatever leaves this machine; an audit hook."""
    host = _host_of(event, arguments)
    if host is None or _is_here(host):
        return
    _note(f"reached for the network ({f'{event} {host} {_line()}'.rstrip()}); Kaggle's kernels have none")
    raise OSError(f"no network on Kaggle: {event} {host}")


class Homes:
    """The folders that only this machine has, and what in them is open all the same; its refuse is an audit hook."""

    # os.stat and what rests on it raise no event: what a script only looks for, and does not find, stays unseen
    EVENTS = frozenset({"open", "os.listdir", "os.scandir", "os.chdir", "os.mkdir"})

    def __init__(self, homes: Sequence[str], is_open: Sequence[str]) -> None:
        python = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
        self._homes, self._open = _folders(homes), _folders([*is_open, *python])

    def holds(self, path: str) -> bool:
        """Tell whether a path is one of this machine only."""
        full = os.path.abspath(path) + os.sep  # noqa: PTH100 - links stay: inputs are some
        return full.startswith(self._homes) and not full.startswith(self._open)

    def refuse(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse what is there on this machine only, as if it were not there, and note it down."""
        if event not in self.EVENTS or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        path = os.fsdecode(arguments[0])
        is_made = event == "os.mkdir" or (event == "open" and arguments[2] & os.O_CREAT)
        if self.holds(path) and os.path.lexists(Path(path).parent if is_made else path):
            place = f" in {line}" if (line := _line()) else ""
            _note(f"reached for a path of this machine only ({path}{place}); Kaggle has no such file")
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _folders(paths: Sequence[str]) -> tuple[str, ...]:
    """Return the beginnings of whatever is in these folders, by their own names and by what these are links to."""
    return tuple({of + os.sep for path in paths for of in (os.path.abspath(path), os.path.realpath(path))})  # noqa: PTH100


def _note(refused: str) -> None:
    with Path(os.environ[REFUSED_VARIABLE]).open("a", encoding="utf-8") as log:
        log.write(refused + "\n")


def _line() -> str:
    """Return the module of the package, and its line, that is at work, or nothing."""
    frame = sys._getframe()
    while frame and "/src/multihead/" not in frame.f_code.co_filename:
        frame = frame.f_back  # type: ignore[assignment]
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}" if frame else ""


def _host_of(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Return the host that an audited event wants to reach, or None where it is about none."""
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        return _text(arguments[0])
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg") and isinstance(arguments[1], tuple):
        return _text(arguments[1][0])
    return None


def _is_here(host: str) -> bool:
    """Tell whether a host is this machine: its loopback, or its own name."""
    if host in ("", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _text(host: Any) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")


def raise_loopback() -> None:
    """Bring 127.0.0.1 up in a network namespace of our own, where everything starts out down."""
    up = struct.pack("16sh14x", b"lo", 1)  # struct ifreq with IFF_UP
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, up)  # SIOCSIFFLAGS


def enter() -> None:
    """Put everything into force."""
    if os.environ.pop(LOOPBACK_VARIABLE, ""):
        raise_loopback()
    KaggleImports.allowed = frozenset(json.loads(os.environ[ALLOWED_VARIABLE])) | sys.stdlib_module_names
    sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = KaggleImports
    sys.addaudithook(refuse_network)
    homes = Homes(
        json.loads(os.environ[HOMES_VARIABLE]), json.loads(Path(os.environ[OPEN_VARIABLE]).read_text(encoding="utf-8"))
    )
    sys.path[:] = [path for path in sys.path if not homes.holds(path)]  # what a .pth file added
    sys.addaudithook(homes.refuse)


if __name__ == "sitecustomize":
    try:
        enter()
    except BaseException as error:  # Python would report it and go on, without a sandbox
        print(f"error: the sandbox could not be set up ({error!r})", file=sys.stderr, flush=True)
        os._exit(1)
