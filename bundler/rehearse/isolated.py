"""Run a command in Linux namespaces of its own: network, mounts, processes, shared memory.

A program that stands alone, started as `python -I -S isolated.py SPEC COMMAND...`; SPEC is a JSON file with the fields
of Spec. It ends as the command ends: with its exit code, or by the same signal. It exits with 125 and one line where
this machine does not allow what SPEC asks for. The command ends with the process that started this program, even where
that is killed; with a process namespace, all that it started ends as well.

The calls are those of unshare(2), mount(2), prctl(2), user_namespaces(7), pid_namespaces(7).
"""

import ctypes
import fcntl
import json
import os
import re
import resource
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PROCESSES, NEW_NETWORK = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
RDONLY, REMOUNT, BIND, REC, PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
NOSUID, NODEV, NOEXEC = 0x2, 0x4, 0x8
KEPT_FLAGS = {  # of a mount; a remount that leaves one out would take it away, which a user namespace refuses
    "nosuid": NOSUID,
    "nodev": NODEV,
    "noexec": NOEXEC,
    "noatime": 0x400,
    "nodiratime": 0x800,
    "relatime": 0x200000,
}
PR_SET_PDEATHSIG = 1
CANNOT = 125
WITNESS_VARIABLE = "REHEARSAL_WITNESS"  # JSON: for each hidden folder, where the sandbox can see what it holds

libc = ctypes.CDLL(None, use_errno=True)


class Spec(NamedTuple):
    """What the command gets.

    network: one of its own, with loopback only. root: a folder that it may write to. mounts: its own file system tree,
    in which read_only (files and folders) cannot be written to, the folders `homes` show nothing but root, what is
    read-only, and `links` (each a symbolic link and where it leads), and /dev/shm is empty, with room for shm_bytes.
    processes: none but its own are seen, and none outlives it. working: where it starts. parent: the process that this
    program ends with, if it is given.
    """

    network: bool
    mounts: bool
    processes: bool
    root: str
    working: str
    read_only: Sequence[str] = ()
    homes: Sequence[str] = ()
    links: Sequence[tuple[str, str]] = ()
    shm_bytes: int = 0
    parent: int = 0


def main(arguments: Sequence[str]) -> NoReturn:
    """Run the command of the arguments as the spec in the first one says."""
    spec = Spec(**json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_the_parent()
    if spec.parent not in (0, os.getppid()):  # it ended before that was said
        os._exit(CANNOT)
    try:
        _enter(spec)
        for path in spec.read_only:  # of another user, root can read what root in a namespace cannot
            if not os.access(path, os.R_OK):
                raise PermissionError(f"{path}: cannot be read in a user namespace")
        if spec.processes:
            _run_as_first_process(spec, arguments[1:])
        _set_up(spec)
        _become(spec, arguments[1:])
    except OSError as error:
        print(f"isolated: {error}", file=sys.stderr, flush=True)
        os._exit(CANNOT)


def _enter(spec: Spec) -> None:
    asked = {NEW_NETWORK: spec.network, NEW_MOUNTS | NEW_IPC: spec.mounts, NEW_PROCESSES: spec.processes}
    if flags := sum(flag for flag, is_asked in asked.items() if is_asked):
        _enter_user_namespace(flags)


def _enter_user_namespace(flags: int = 0) -> None:
    """Enter a new user namespace, as root in it, and the other namespaces of the flags."""
    user, group = os.geteuid(), os.getegid()
    _check(libc.unshare(NEW_USER | flags), "unshare")
    for name, text in {"setgroups": "deny", "uid_map": f"0 {user} 1", "gid_map": f"0 {group} 1"}.items():
        Path("/proc/self", name).write_text(text, encoding="ascii")


def _run_as_first_process(spec: Spec, command: Sequence[str]) -> NoReturn:
    """Fork the first process of the namespace, which runs the command as its child, and end as that ends.

    The first process itself ignores most signals, so the command cannot be it; when it ends, all others are killed.
    What cannot be had is an OSError in that process or the command's, which main tells there.
    """
    reading, writing = os.pipe()
    first = os.fork()
    if first:
        os.close(writing)
        packed_status = os.read(reading, 4)
        _, status = os.waitpid(first, 0)
        _end_as(struct.unpack("i", packed_status)[0] if packed_status else status)
    os.close(reading)
    _end_with_the_parent()
    _set_up(spec)
    child = os.fork()
    if not child:
        os.setsid()  # so that a signal to its group is no signal to what watches over it
        _become(spec, command)
    while True:
        ended, status = os.wait()
        if ended == child:
            os.write(writing, struct.pack("i", status))
            os._exit(0)


def _end_as(status: int) -> NoReturn:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command left one already, if any
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
        signal.pause()
    os._exit(code)


def _become(spec: Spec, command: Sequence[str]) -> NoReturn:
    os.chdir(spec.working)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):  # ignored here; what it starts should not
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which a Ray worker blocks
    os.execvp(command[0], list(command))


def _end_with_the_parent() -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _set_up(spec: Spec) -> None:
    """Bring up what the namespaces begin without, then give up every right over them."""
    if spec.network:
        _raise_loopback()
    if spec.mounts:
        _mount("none", "/", flags=REC | PRIVATE)
        if spec.processes:
            _mount("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC)
        if Path("/dev/shm").is_dir():
            _mount("tmpfs", "/dev/shm", "tmpfs", NOSUID | NODEV, f"mode=1777,size={spec.shm_bytes}")
        _mount(spec.root, spec.root, flags=BIND | REC)
        for path in sorted(spec.read_only):  # each before what is in it
            _make_read_only(path, but=spec.root)
        _hide(spec)
    if spec.network or spec.mounts:
        _enter_user_namespace()  # in which a mount can neither be taken away nor be made writable


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS of a struct ifreq with IFF_UP


def _make_read_only(path: str, but: str) -> None:
    """Make a file, or a folder with all file systems mounted in it, read-only, but for the folder `but`."""
    _mount(path, path, flags=BIND | REC)
    for point, options in _mounts():
        if _is_in(point, path) and (_is_in(path, but) or not _is_in(point, but)) and os.access(point, os.F_OK):
            flags = sum(flag for name, flag in KEPT_FLAGS.items() if name in options)
            _mount("none", point, flags=REMOUNT | BIND | RDONLY | flags)  # what cannot be reached stays out of reach


def _mounts() -> Iterator[tuple[str, list[str]]]:
    """Yield where each file system is mounted, and its options."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields = line.split(" ")
        yield re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields[4]), fields[5].split(",")


def _hide(spec: Spec) -> None:
    """Mount an empty folder over each home, and in it what is open to the command all the same."""
    homes = _outermost(spec.homes)
    seen = _outermost([path for path in (spec.root, *spec.read_only) if any(_is_in(path, home) for home in homes)])
    handles = {path: os.open(path, os.O_PATH) for path in seen}
    witnesses = {}
    for home in homes:
        _make_read_only(home, but=spec.root)
        witnesses[home] = os.open(home, os.O_PATH)
        os.set_inheritable(witnesses[home], not spec.processes)  # else the first process holds it
        _mount("tmpfs", home, "tmpfs", NOSUID | NODEV, "mode=755,size=64m")
    for path, handle in handles.items():
        if os.path.isdir(f"/proc/self/fd/{handle}"):  # noqa: PTH112
            Path(path).mkdir(parents=True, exist_ok=True)
        else:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).touch()
        _mount(f"/proc/self/fd/{handle}", path, flags=BIND | REC)
        os.close(handle)
    for link, target in spec.links:
        if any(_is_in(link, home) for home in homes) and not os.path.lexists(link):
            Path(link).parent.mkdir(parents=True, exist_ok=True)
            Path(link).symlink_to(target)
    for home in homes:
        _mount("none", home, flags=REMOUNT | BIND | RDONLY | NOSUID | NODEV)
    places = {home: f"/proc/{os.getpid()}/fd/{handle}" for home, handle in witnesses.items()}
    os.environ[WITNESS_VARIABLE] = json.dumps(places)


def _outermost(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if not any(_is_in(path, other) for other in paths if other != path)]


def _is_in(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder.rstrip('/')}/")


def _mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str = "") -> None:
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode() if kind else None, flags, options.encode())
    _check(libc.mount(*arguments), f"mount {target}")


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main(sys.argv[1:])
