"""Kaggle's API on 127.0.0.1, as far as the way to a score needs it, for the real kaggle client.

The client is led here by `environment`: it calls http://localhost, through a proxy that is this server.
"""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

USER, KEY = "some-body", "0123456789abcdef-made-up"
SOURCES = ("Dataset", "Competition", "Kernel", "Model")
Answer = tuple[int, Any]


class Kaggle:
    """What Kaggle holds, and how it answers; a test reads and changes it.

    answers: what a request is answered with instead, by its name. unknown: sources that Kaggle does not know.
    *_states: what each new one goes through, a step each time that it is asked for. outputs: what the kernels of a
    slug with such a part leave, in place of `output`. failed: versions of kernels whose run has failed. image: the
    Docker image of every run. log: what each run printed; {version} in it is filled in. room: how many kernels may run
    at once. refusals: of the next push of a kernel, by a part of its slug. on_push: called with the slug once a version
    is there, before the client knows.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Answer] = {}
        self.unknown: set[str] = set()
        self.kernels: dict[str, list[dict[str, Any]]] = {}
        self.kernel_states = ["QUEUED", "RUNNING", "COMPLETE"]
        self.failure_message = ""
        self.output: dict[str, bytes] = {}
        self.outputs: dict[str, dict[str, bytes]] = {}
        self.log = "what it printed"
        self.failed: dict[str, set[int]] = {}
        self.image = "gcr.io/kaggle-gpu-images/python@sha256:0123"
        self.room = 0
        self.refusals: dict[str, str] = {}
        self.on_push: Callable[[str], object] = lambda _: None
        self.quota: dict[str, Any] = {}
        self.blobs: dict[str, tuple[str, bytes]] = {}
        self.datasets: dict[str, list[dict[str, bytes]]] = {}
        self.dataset_states = ["NOT_YET_PERSISTED", "READY"]
        self.submissions: list[dict[str, Any]] = []
        self.submission_states = ["PENDING", "PENDING", "COMPLETE"]  # submit lists it once
        self.ahead: dict[str, list[str]] = {}

    def sent(self, request: str) -> list[dict[str, Any]]:
        """Return what was sent with the requests of a name, the first one first."""
        return [body for name, body in self.requests if name == request]

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Answer a request to the API, an upload, or a download."""
        name = path.rsplit("/", 1)[-1]
        if method == "PUT":
            self.blobs[name] = (self.blobs[name][0], body)
            return self.answers.get("upload", (200, {}))
        if method == "GET":
            owner, slug, file = path.partition("/output/")[2].split("/", 2)
            return self.answers.get("download", (200, self._output_of(f"{owner}/{slug}")[file]))
        sent = json.loads(body)
        self.requests.append((name, sent))
        if name in self.answers:
            return self.answers[name]
        answer: Answer = getattr(self, f"_{name}", self._unheard_of)(sent)
        return answer

    def _unheard_of(self, _: dict[str, Any]) -> Answer:
        return refusal(404, "Not found")

    @property
    def running(self) -> list[str]:
        """The kernels that run."""
        return [slug for slug in self.kernels if self.ahead[slug][0] in ("QUEUED", "RUNNING")]

    def _SaveKernel(self, sent: dict[str, Any]) -> Answer:
        if self.room and len(self.running) >= self.room:
            return 200, {"error": f"Maximum batch GPU session count of {self.room} reached."}
        for part in self.refusals:
            if part in sent["slug"]:
                return 200, {"error": self.refusals.pop(part)}
        versions = self.kernels.setdefault(sent["slug"], [])
        answer = {"ref": f"/code/{sent['slug']}", "url": "http://localhost/code", "versionNumber": len(versions) + 1}
        saved = dict(sent)
        for kind in SOURCES:
            sources = sent.get(f"{kind.lower()}DataSources", [])
            answer[f"invalid{kind}Sources"] = [s for s in sources if s in self.unknown]
            saved[f"{kind.lower()}DataSources"] = [s for s in sources if s not in self.unknown]
        versions.append(saved)
        if sent.get("kernelExecutionType") != "QUICK_SAVE":
            self.ahead[sent["slug"]] = list(self.kernel_states)
        self.on_push(sent["slug"])
        return 200, answer

    def _GetKernel(self, sent: dict[str, Any]) -> Answer:
        slug, _, version_before = sent["kernelSlug"].partition("/")  # so says the client before 2.2.5
        kernel = f"{sent['userName']}/{slug}"
        versions = self.kernels.get(kernel, [])
        version = int(version_before or self._version_of(sent, len(versions)))
        if not 0 < version <= len(versions):
            return refusal(404, "Kernel not found")
        saved = {"ref": kernel, "text": "", "dockerImage": self.image} | versions[version - 1]
        blob = {"source": saved["text"], "language": "python", "kernelType": "script", "slug": slug}
        return 200, {"metadata": saved, "blob": blob}

    def _GetKernelSessionStatus(self, sent: dict[str, Any]) -> Answer:
        kernel = f"{sent['userName']}/{sent['kernelSlug']}"
        if kernel not in self.ahead or self._version_of(sent, 0) > max(1, len(self.kernels.get(kernel, []))):
            return DENIED
        status = "ERROR" if self._version_of(sent, 0) in self.failed.get(kernel, ()) else self._step(kernel)
        return 200, {"status": status, "failureMessage": self.failure_message if status == "ERROR" else ""}

    def _version_of(self, sent: dict[str, Any], newest: int) -> int:
        """Return the version that a request is about; the client before 2.2.5 names none."""
        return int(sent.get("versionLabel", f"v{newest}").removeprefix("v"))

    def _ListKernelSessionOutput(self, sent: dict[str, Any]) -> Answer:
        kernel = f"{sent['userName']}/{sent['kernelSlug']}"
        log = self.log.replace("{version}", str(self._version_of(sent, 0)))
        urls = {name: f"http://localhost/output/{kernel}/{name}" for name in self._output_of(kernel)}
        return 200, {"files": [{"fileName": name, "url": url} for name, url in urls.items()], "log": log}

    def _output_of(self, kernel: str) -> dict[str, bytes]:
        return next((output for part, output in self.outputs.items() if part in kernel), self.output)

    def _GetAcceleratorQuotaStatistics(self, _: dict[str, Any]) -> Answer:
        return (200, self.quota) if self.quota else self._unheard_of({})

    def _StartBlobUpload(self, sent: dict[str, Any]) -> Answer:
        token = f"token-{len(self.blobs)}"
        self.blobs[token] = (sent["name"], b"")
        return 200, {"token": token, "createUrl": f"http://localhost/upload/{token}"}

    def _CreateDataset(self, sent: dict[str, Any]) -> Answer:
        return self._new_version(f"{sent['ownerSlug']}/{sent['slug']}", sent)

    def _CreateDatasetVersion(self, sent: dict[str, Any]) -> Answer:
        return self._new_version(f"{sent['ownerSlug']}/{sent['datasetSlug']}", sent["body"])

    def _new_version(self, dataset: str, sent: dict[str, Any]) -> Answer:
        version = dict(self.blobs[file["token"]] for file in sent.get("files", []))
        self.datasets.setdefault(dataset, []).append(version)
        self.ahead[dataset] = list(self.dataset_states)
        return 200, {"ref": dataset, "url": f"http://localhost/{dataset}", "status": "ok"}

    def _GetDatasetStatus(self, sent: dict[str, Any]) -> Answer:
        dataset = f"{sent['ownerSlug']}/{sent['datasetSlug']}"
        if dataset not in self.datasets:
            return DENIED
        return 200, {"status": self._step(dataset)}

    def _GetDataset(self, sent: dict[str, Any]) -> Answer:
        dataset = f"{sent['ownerSlug']}/{sent['datasetSlug']}"
        ready = len(self.datasets[dataset]) - (len(self.ahead[dataset]) > 1)  # counts once its last state is reached
        return 200, {"ref": dataset, "currentVersionNumber": ready}

    def _CreateCodeSubmission(self, sent: dict[str, Any]) -> Answer:
        versions = self.kernels.get(f"{sent['kernelOwner']}/{sent['kernelSlug']}", [])
        if not 0 < sent["kernelVersion"] <= len(versions):
            return refusal(404, "Could not find provided notebook")
        submission = {
            "ref": len(self.submissions) + 1,
            "fileName": sent["fileName"],
            "description": sent["submissionDescription"],
            "date": "2020-01-01T00:00:00.000Z",
        }
        self.submissions.insert(0, submission)
        self.ahead["submission"] = list(self.submission_states)
        return 200, {"message": "Successfully submitted to a competition", "ref": submission["ref"]}

    def _GetSubmissionLimits(self, _: dict[str, Any]) -> Answer:
        return 200, {"numAllowedNow": 4}

    def _ListSubmissions(self, _: dict[str, Any]) -> Answer:
        if self.submissions:
            newest = self.submissions[0]
            newest["status"] = self._step("submission")
            if newest["status"] == "COMPLETE":
                newest |= {"publicScore": "0.9370", "privateScore": "0.9041"}
        return 200, {"submissions": self.submissions}

    def _step(self, name: str) -> str:
        states = self.ahead[name]
        return states.pop(0) if len(states) > 1 else states[0]


def refusal(code: int, message: str) -> Answer:
    """Return an error as the API tells it, which the client passes on."""
    return code, {"code": code, "message": message}


DENIED = refusal(403, "Permission 'get' was denied")  # of what is private, and of what does not exist


class Server(ThreadingHTTPServer):
    """Serves a Kaggle on any free port."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.kaggle = Kaggle()


class Handler(BaseHTTPRequestHandler):
    """Reads a request as the client sends it to a proxy, and sends Kaggle's answer."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path, body = urlsplit(self.path).path, self._body()
        credentials = base64.b64encode(f"{USER}:{KEY}".encode()).decode()
        if self.command == "POST" and self.headers.get("Authorization") != f"Basic {credentials}":
            code, answer = refusal(401, "Unauthenticated")
        else:
            code, answer = self.server.kaggle.answer(self.command, path, body)
        payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/octet-stream" if answer is payload else "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.send_header("X-Kaggle-APIVersion", "99.0.0")  # the client warns that it is old, amid its output
        self.end_headers()
        self.wfile.write(payload)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    """Serve until the block ends."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def environment(port: int, home: Path) -> dict[str, str]:
    """Return the variables that lead the client to the server, with nobody's credentials and an empty home."""
    proxy = f"http://127.0.0.1:{port}"
    return {
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "KAGGLE_CONFIG_DIR": str(home),
        "KAGGLE_USERNAME": USER,
        "KAGGLE_KEY": KEY,
        "KAGGLE_API_TOKEN": "",
        "HOME": str(home),
        "TMPDIR": str(home),
        "HTTP_PROXY": proxy,
        "http_proxy": proxy,
        "NO_PROXY": "",
        "no_proxy": "",
    }
