"""Trials as Ray tasks: on a Ray of this machine alone, or on a cluster.

Ray is imported where this engine is chosen, and nowhere else. All nodes find the study, its data and this repository
under the paths that they have here: a shared disk. Ray places trials and begins those anew whose worker or node is
lost; they go on from their checkpoints.
"""

import logging
import math
import os
import platform
import secrets
import socket
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from bundler.errors import BundlerError
from bundler.repository import HERE
from bundler.study.engines.local import SECONDS_BETWEEN_LOOKS
from bundler.study.run import SECONDS_TO_END, Ended, end, start
from bundler.study.trial import Trial
from multihead.config import UserError, cores

STOP_FILE = ".stop"  # in the folder of a trial that is to end
MAX_RETRIES = 5  # of a trial whose worker or node is lost, not of one that fails
SECONDS_TO_ANSWER = 10
ENVIRONMENT = {  # the last: against a warning of 2.55 on machines without a GPU
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_task_oom_retries": str(MAX_RETRIES),
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
PYTHONPATH = os.pathsep.join([str(HERE.root), str(HERE.root / "src"), "${PYTHONPATH}"])


class Ray:
    """Runs trials as Ray tasks, each with the CPUs of its threads, and one GPU where any node has one.

    workers: how many at a time; 0 for one per GPU of this machine or else one, on a cluster for as many as it has room
    for. gpus: of this machine. address: of a cluster to which this machine belongs. Raises BundlerError where Ray is
    not installed, or no cluster is at the address.
    """

    def __init__(self, workers: int = 0, gpus: Sequence[str] = (), address: str = "") -> None:
        self._ray = _begun(address, len(gpus))
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        self._gpus = int(any(node.get("GPU") for node in nodes))
        self._cpus = [int(node.get("CPU", 0)) for node in nodes if node.get("GPU", 0) >= self._gpus]
        rooms = [
            int(node.get("CPU", 0) // (node.get("GPU") or 1)) for node in nodes if node.get("GPU", 0) >= self._gpus
        ]
        self._workers = workers or (math.inf if address else max(1, len(gpus)))
        self.threads = max(1, min(filter(None, rooms), default=1) if address else cores() // int(self._workers))

    def run(self, trials: Sequence[Trial]) -> Generator[Ended, None, None]:
        waiting, running = deque(trials), dict[Any, Trial]()
        task = self._ray.remote(num_gpus=self._gpus, max_retries=MAX_RETRIES)(run_here)
        try:
            while waiting or running:
                while waiting and len(running) < self._workers:
                    trial = waiting.popleft()
                    running[task.options(num_cpus=self._room(trial), name=trial.name).remote(trial)] = trial
                    print(f"{trial.name}: handed to Ray; {trial.log}", flush=True)
                (done,), _ = self._ray.wait(list(running))
                yield self._ended(running.pop(done), done)
        finally:
            for reference, trial in running.items():
                (trial.folder / STOP_FILE).touch()  # cancel's interrupt of a task at work is lost now and then
                self._ray.cancel(reference)
            self._ray.wait(list(running), num_returns=len(running), timeout=SECONDS_TO_END + 5) if running else None
            self._ray.shutdown()

    def _room(self, trial: Trial) -> int:
        if trial.threads <= max(self._cpus, default=0):
            return trial.threads
        raise BundlerError(f"no node of Ray has {trial.threads} CPUs for the threads of {trial.name}")

    def _ended(self, trial: Trial, reference: Any) -> Ended:
        try:
            return Ended(trial, *self._ray.get(reference))
        except self._ray.exceptions.RayError as error:  # its worker was lost too often, or never began
            return Ended(trial, 0, 0.0, f"Ray: {_line(error)}")


def run_here(trial: Trial) -> tuple[int, float, str]:
    """Run a trial on the node of this worker; return its exit code, its seconds and why it could not be begun."""
    begun, stop = time.monotonic(), trial.folder / STOP_FILE
    try:
        if not trial.folder.is_dir():
            return 0, 0.0, f"{trial.folder}: not on node {platform.node()}; expected a disk that all nodes share"
        stop.unlink(missing_ok=True)
        with trial.log.open("a", encoding="utf-8") as log:
            print(f"on node {platform.node()}", file=log)
        process = start(trial)
    except (UserError, OSError) as error:
        return 0, time.monotonic() - begun, f"on node {platform.node()}: {error}"
    try:
        while process.poll() is None and not stop.exists():
            time.sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        end([process])
        stop.unlink(missing_ok=True)
    return process.returncode, time.monotonic() - begun, ""


def _begun(address: str, gpus: int) -> Any:
    """Return the module ray, at work on this machine alone or, with an address, on a cluster."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if not address:  # it listens on every network of this machine: let nobody else use it
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        import ray
    except ImportError as error:
        raise BundlerError(f"--engine ray: {error}; .venv/bin/pip install -r requirements-scale.txt") from error
    _check_address(address)
    own: Mapping[str, Any] = {
        "num_cpus": cores(),
        "num_gpus": gpus,
        "include_dashboard": False,
    }
    try:
        ray.init(
            address=address or "local",
            runtime_env={"env_vars": {"PYTHONPATH": PYTHONPATH}},
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            **({} if address else own),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BundlerError(f"{f'--address {address}' if address else 'Ray'}: {_line(error)}") from error
    return ray


def _check_address(address: str) -> None:
    """Raise BundlerError where nothing answers at HOST:PORT: Ray itself asks for many minutes."""
    host, _, port = address.rpartition(":")
    try:
        if address not in ("", "auto"):
            socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()
    except (OSError, ValueError, OverflowError) as error:
        reason = f"no Ray answers there ({error.strerror})" if isinstance(error, OSError) else "not of the form"
        raise BundlerError(f"--address {address}: {reason}; expected HOST:PORT of a Ray cluster, or auto") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
