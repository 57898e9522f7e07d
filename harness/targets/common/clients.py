"""The local target's clients: each satisfies a protocol of ``trivet.model.clients`` with processes and files of this machine."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from trivet.errors import CannotTell, UsageError
from trivet.host.journal import make_below
from trivet.host.processes import Process, ServerFailed
from trivet.host.worker import OperationFailed, Worker
from trivet.model.clients import DownloadFailed, Rows
from trivet.model.handover import Download, HttpExchange, LoggedModel, PipelineRun
from trivet.targets.common import limits


class LocalTrainer:
    """The trainer's job (``trivet.fixtures.jobs.trainer``)."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def log_model(self, **variation: Any) -> LoggedModel:
        """Train and log a model; the job's ``log_model`` lists the variations."""
        return LoggedModel(**self._worker.call("log_model", **variation))

    def predict(self, model_uri: str, rows: Rows) -> list[Any]:
        """The predictions, one per row. Raises PlatformError with MLflow's words when the model refuses the rows."""
        return list(self._worker.call("predict", model_uri=model_uri, rows=[dict(row) for row in rows]))

    def artifacts(self, uri: str) -> Mapping[str, str]:
        """Relative path → SHA-256; for a registered version this holds MLflow's own ``registered_model_meta`` too."""
        return dict(self._worker.call("artifacts", uri=uri))

    def call(self, operation: str, **arguments: Any) -> Any:
        """Any operation of the job: ``try_predict``, ``client`` …"""
        return self._worker.call(operation, **arguments)


class LocalRuntime:
    """The runtime's job (``trivet.fixtures.jobs.runtime``), started when it is first asked."""

    def __init__(self, start: Callable[[], Worker]) -> None:
        self._start = start
        self._worker: Worker | None = None
        self._lock = threading.Lock()

    def call(self, operation: str, **arguments: Any) -> Any:
        """``read_signature(directory)``, ``try_read_signature(directory)``, ``load(directory)`` or ``versions()``."""
        with self._lock:
            if self._worker is None:
                self._worker = self._start()
        return self._worker.call(operation, **arguments)


class Downloads:
    """KServe's storage initializer (``trivet.fixtures.jobs.initializer``), and a directory with a fresh one in it for each download."""

    def __init__(self, directory: Path, initializer: Worker) -> None:
        self._directory = directory
        self._initializer = initializer
        self._numbers = count()

    def fetch(self, storage_uri: str) -> Download:
        """Have KServe's code fetch exactly ``storage_uri``. Raises DownloadFailed with its text when it refuses.

        The initializer links what lies on the same file system instead of copying it (kserve, storage.py, ``_download_local``).
        """
        directory = make_below(self._directory.parent, f"{self._directory.name}/{next(self._numbers):03d}")
        before = len(self._initializer.process.text())
        try:
            self._initializer.call(
                "download", storage_uri=storage_uri, directory=str(directory), seconds=limits.DOWNLOAD
            )
        except OperationFailed as error:
            raise DownloadFailed(error.message) from error
        return Download(directory=directory, files=checksums(directory), log=self._initializer.process.text()[before:])


class LocalStore:
    """The artefact store as a directory of this machine; ``fetch`` is the storage initializer in front of it."""

    def __init__(self, directory: Path, fetch: Callable[[str], Download]) -> None:
        self._directory = directory
        self._fetch = fetch

    @property
    def root(self) -> str:
        """The store's root as a ``file://`` URI, as it stands: KServe's initializer decodes no percent signs."""
        return f"file://{self._directory}"

    def files(self, storage_uri: str) -> Mapping[str, str]:
        """Relative path → SHA-256 of the files below ``storage_uri``; of nothing when there is no such place."""
        return checksums(self._path(storage_uri))

    def write(self, relative: str, files: Mapping[str, bytes]) -> str:
        """Write files, by their paths relative to the new directory ``relative`` below the root; returns its storage URI."""
        directory = self._inside(self._directory / relative)
        for name, content in files.items():
            path = directory / name
            make_below(self._directory, path.parent.relative_to(self._directory))
            path.write_bytes(content)
        return f"file://{directory}"

    def download(self, storage_uri: str) -> Download:
        """Have KServe's code fetch exactly ``storage_uri``. Raises DownloadFailed with its text when it refuses."""
        return self._fetch(storage_uri)

    def _path(self, storage_uri: str) -> Path:
        if urlsplit(storage_uri).scheme not in ("", "file"):
            raise UsageError(f"{storage_uri!r} is not in this store", remedy=f"give a URI below its root, {self.root}")
        return Path(storage_uri.removeprefix("file://"))

    def _inside(self, path: Path) -> Path:
        if not path.resolve().is_relative_to(self._directory.resolve()):
            raise UsageError(f"{path} lies outside the store", remedy="give a path relative to the store's root")
        return path


class S3Store:
    """The artefact store as an S3 bucket or a directory of one, seen by its own job (``trivet.fixtures.jobs.store``)."""

    def __init__(self, root: str, job: Worker, fetch: Callable[[str], Download]) -> None:
        self._root = root
        self._job = job
        self._fetch = fetch

    @property
    def root(self) -> str:
        """The store's root as an ``s3://`` URI, without a slash at its end."""
        return self._root

    def files(self, storage_uri: str) -> Mapping[str, str]:
        """Relative path → SHA-256 of the objects below ``storage_uri``; of nothing when there is no such place."""
        if not f"{storage_uri}/".startswith(f"{self._root}/"):
            raise UsageError(f"{storage_uri!r} is not in this store", remedy=f"give a URI below its root, {self._root}")
        return dict(self._job.call("files", uri=storage_uri))

    def write(self, relative: str, files: Mapping[str, bytes]) -> str:
        """Write files, by their paths relative to the new directory ``relative`` below the root; returns its storage URI."""
        if relative.startswith("/") or ".." in relative.split("/"):
            raise UsageError(f"{relative!r} lies outside the store", remedy="give a path relative to the store's root")
        uri = f"{self._root}/{relative}"
        encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
        self._job.call("write", uri=uri, files=encoded)
        return uri

    def download(self, storage_uri: str) -> Download:
        """Have KServe's code fetch exactly ``storage_uri``. Raises DownloadFailed with its text when it refuses."""
        return self._fetch(storage_uri)


class HttpServing:
    """A model behind an HTTP server at ``url``; ``headers`` go with every request, ``log`` gives the runtime's log so far."""

    def __init__(
        self,
        name: str,
        *,
        url: str,
        failure: str,
        log: Callable[[], str],
        deploy: Callable[[str], contextlib.AbstractContextManager[HttpServing]],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._url = url
        self._failure = failure
        self._log = log
        self._deploy = deploy
        self._headers = headers

    @property
    def name(self) -> str:
        """The model's name in V2 URLs."""
        return self._name

    @property
    def ready(self) -> bool:
        """Whether the model answered ready before the deadline."""
        return not self._failure

    @property
    def failure(self) -> str:
        """Why it is not ready, in one line; empty when it is."""
        return self._failure

    def infer(self, request: Mapping[str, Any]) -> HttpExchange:
        """POST to the model's ``infer``. Raises CannotTell, with the cause out of the runtime's log, when it never got ready."""
        return self._exchange("POST", f"/v2/models/{self._name}/infer", request)

    def get(self, path: str) -> HttpExchange:
        """GET a path of the server."""
        return self._exchange("GET", path, None)

    def log(self) -> str:
        """The runtime's log so far."""
        return self._log()

    def deploy(self, storage_uri: str) -> contextlib.AbstractContextManager[HttpServing]:
        """A further service for what the initializer fetches from ``storage_uri``."""
        return self._deploy(storage_uri)

    def _exchange(self, method: str, path: str, body: Any) -> HttpExchange:
        if self._failure:
            raise CannotTell(f"the model was never ready: {self._failure}")
        url = f"{self._url}{path}"
        started = time.monotonic()
        with requests.Session() as session:
            session.trust_env = False
            try:
                answer = session.request(method, url, json=body, headers=self._headers, timeout=limits.INFER)
            except requests.RequestException as error:
                raise CannotTell(f"{method} {url} was not answered: {error}; {cause(self.log())}") from error
        try:
            parsed: Any = answer.json()
        except ValueError:
            parsed = answer.text
        return HttpExchange(
            method=method,
            url=url,
            request=body,
            status=answer.status_code,
            body=parsed,
            seconds=time.monotonic() - started,
        )


class LocalPipelines:
    """The example pipeline under the stack's KFP SDK."""

    def __init__(
        self,
        compiled: Path,
        main_run: Callable[[], PipelineRun],
        run: Callable[[Mapping[str, Any], Mapping[str, str], Path | None], PipelineRun],
    ) -> None:
        self._compiled = compiled
        self._main_run = main_run
        self._run = run

    @property
    def compiled(self) -> Path:
        """The IR YAML."""
        return self._compiled

    @property
    def main_run(self) -> PipelineRun:
        """The run that produced the hand-off; waits for it."""
        return self._main_run()

    def run(
        self,
        arguments: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        pipeline: Path | None = None,
    ) -> PipelineRun:
        """One more run. Without ``registered_name`` among the arguments it gets a name of its own, and so disturbs no other check."""
        return self._run(arguments, environment or {}, pipeline)


def serve(
    name: str,
    start: Callable[[], tuple[Process, str]],
    deploy: Callable[[str], contextlib.AbstractContextManager[HttpServing]],
) -> tuple[HttpServing, Process]:
    """A serving client for the runtime that ``start`` starts, whether or not its model ever gets ready, and the runtime's process."""
    try:
        process, url = start()
        failure = ""
    except ServerFailed as error:
        process, url = error.process, ""
        failure = cause(process.text()) or error.message
    return HttpServing(name, url=url, failure=failure, log=process.text, deploy=deploy), process


@contextlib.contextmanager
def stopped_afterwards(serving: HttpServing, process: Process) -> Iterator[HttpServing]:
    """``serving``, whose ``process`` ends with the block."""
    try:
        yield serving
    finally:
        process.stop()


def cause(log: str) -> str:
    """The first exception in a log, in one line; else its last line with a word. What follows the first one is mostly its consequence."""
    found = re.search(r"^\s*(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt)(?:: .*)?$", log, re.MULTILINE)
    if found:
        return str(found.group(0)).strip()
    return next((line.strip() for line in reversed(log.splitlines()) if re.search(r"\w", line)), "")


def checksums(directory: Path) -> dict[str, str]:
    """Relative path → SHA-256 of every file below ``directory``, links followed."""
    found = {}
    for folder, _, names in os.walk(directory, followlinks=True):
        for name in names:
            path = Path(folder) / name
            found[path.relative_to(directory).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return dict(sorted(found.items()))
