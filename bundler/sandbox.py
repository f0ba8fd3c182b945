"""What a rehearsed process may do: import what Kaggle has, reach no network.

Run by Python at start-up as `sitecustomize`, in the rehearsed process and in each that it spawns. So it
stands alone: it imports nothing of this project, and takes its settings from the environment.
"""

import fcntl
import importlib.machinery
import ipaddress
import json
import os
import site
import socket
import struct
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

ALLOWED_VARIABLE = "REHEARSAL_IMPORTS"  # JSON list of the import names that Kaggle's image has
LOOPBACK_VARIABLE = "REHEARSAL_LOOPBACK"  # set where the process has a network namespace of its own
ATTEMPTS_VARIABLE = "REHEARSAL_NETWORK_LOG"  # a file: one line for each attempt to reach the network
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
        places = [spec.origin, *(spec.submodule_search_locations or [])]
        is_hidden = any(os.path.realpath(place).startswith(SITE_FOLDERS) for place in places if place)
        return None if is_hidden else spec


def refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse, and note down, whatever leaves this machine; an audit hook."""
    host = _host_of(event, arguments)
    if host is None or _is_here(host):
        return
    where = next(
        (
            f"{f.filename}, line {f.lineno}"
            for f in reversed(traceback.extract_stack()[:-1])
            if "/multihead/" in f.filename
        ),
        "",
    )
    with Path(os.environ[ATTEMPTS_VARIABLE]).open("a", encoding="utf-8") as log:
        log.write(f"{event} {host} {where}".rstrip() + "\n")
    raise OSError(f"no network on Kaggle: {event} {host}")


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


if __name__ == "sitecustomize":
    try:
        enter()
    except BaseException as error:  # Python would report it and go on, without a sandbox
        print(f"error: the sandbox could not be set up ({error!r})", file=sys.stderr, flush=True)
        os._exit(1)
