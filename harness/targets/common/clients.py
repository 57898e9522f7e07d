"""Clients that work over workers, files and HTTP; each implements a protocol of ``trivet.model.clients``."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
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
from trivet.toolkit.logs import exception_in, first_exception


class WorkerTrainer:
    """The trainer client over the trainer's job (``trivet.fixtures.jobs.trainer``)."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def log_model(self, **variation: Any) -> LoggedModel:
        """Train and log a model. The job's ``log_model`` documents the variations."""
        return LoggedModel(**self._worker.call("log_model", **variation))

    def predict(self, model_uri: str, rows: Rows) -> list[Any]:
        """The predictions, one per row. Raises PlatformError with MLflow's error when the model rejects the rows."""
        return list(self._worker.call("predict", model_uri=model_uri, rows=[dict(row) for row in rows]))

    def artifacts(self, uri: str) -> Mapping[str, str]:
        """Relative path → SHA-256. For a registered version this includes MLflow's ``registered_model_meta``."""
        return dict(self._worker.call("artifacts", uri=uri))

    def call(self, operation: str, **arguments: Any) -> Any:
        """Any operation of the job: ``try_predict``, ``client`` …"""
        return self._worker.call(operation, **arguments)


class WorkerPredictor:
    """The predictor client for the model at ``model_uri``, a URI of MLflow's or a directory, over a job that has ``try_predict``."""

    def __init__(self, worker: Worker | WorkerTrainer, model_uri: str) -> None:
        self._worker = worker
        self._model_uri = model_uri

    def predict(self, rows: Rows) -> list[Any]:
        """The predictions, one per row. Raises PlatformError with MLflow's error when the model rejects the rows."""
        return list(self._call("predict", rows))

    def try_predict(self, rows: Rows) -> Mapping[str, Any]:
        """``{"predictions", "type", "error"}``: the predictions, or type and text of the exception; those are empty on success."""
        return dict(self._call("try_predict", rows))

    def _call(self, operation: str, rows: Rows) -> Any:
        return self._worker.call(operation, model_uri=self._model_uri, rows=[dict(row) for row in rows])


class WorkerRuntime:
    """The runtime client over the runtime's job (``trivet.fixtures.jobs.runtime``), which is started at the first call."""

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
    """Downloads with KServe's storage initializer (``trivet.fixtures.jobs.initializer``), each into a new directory below ``directory``."""

    def __init__(self, directory: Path, initializer: Worker) -> None:
        self._directory = directory
        self._initializer = initializer
        self._numbers = count()

    def fetch(self, storage_uri: str) -> Download:
        """Download exactly ``storage_uri`` with KServe's code. Raises DownloadFailed with its error when it fails.

        The initializer links files of the same file system and does not copy them (kserve, storage.py, ``_download_local``).
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


class DirectoryStore:
    """The store client for a directory on this machine; ``fetch`` downloads with the storage initializer."""

    def __init__(self, directory: Path, fetch: Callable[[str], Download]) -> None:
        self._directory = directory
        self._fetch = fetch

    @property
    def root(self) -> str:
        """The store's root as a ``file://`` URI, not percent-encoded, because KServe's initializer does not decode it."""
        return f"file://{self._directory}"

    def files(self, storage_uri: str) -> Mapping[str, str]:
        """Relative path → SHA-256 of the files below ``storage_uri``; empty when it does not exist."""
        return checksums(self._path(storage_uri))

    def write(self, relative: str, files: Mapping[str, bytes]) -> str:
        """Write files (path → content) to the new directory ``relative`` below the root; returns the directory's storage URI."""
        directory = self._inside(self._directory / relative)
        for name, content in files.items():
            path = directory / name
            make_below(self._directory, path.parent.relative_to(self._directory))
            path.write_bytes(content)
        return f"file://{directory}"

    def download(self, storage_uri: str) -> Download:
        """Download exactly ``storage_uri`` with KServe's code. Raises DownloadFailed with its error when it fails."""
        return self._fetch(storage_uri)

    def _path(self, storage_uri: str) -> Path:
        if urlsplit(storage_uri).scheme not in ("", "file"):
            raise UsageError(f"{storage_uri!r} is not in this store", remedy=f"use a URI below its root, {self.root}")
        return Path(storage_uri.removeprefix("file://"))

    def _inside(self, path: Path) -> Path:
        if not path.resolve().is_relative_to(self._directory.resolve()):
            raise UsageError(f"{path} is outside the store", remedy="use a path relative to the store's root")
        return path


class S3Store:
    """The store client for an S3 bucket or a prefix in one, over its job (``trivet.fixtures.jobs.store``)."""

    def __init__(self, root: str, job: Worker, fetch: Callable[[str], Download]) -> None:
        self._root = root
        self._job = job
        self._fetch = fetch

    @property
    def root(self) -> str:
        """The store's root as an ``s3://`` URI, without a trailing slash."""
        return self._root

    def files(self, storage_uri: str) -> Mapping[str, str]:
        """Relative path → SHA-256 of the objects below ``storage_uri``; empty when there are none."""
        if not f"{storage_uri}/".startswith(f"{self._root}/"):
            raise UsageError(f"{storage_uri!r} is not in this store", remedy=f"use a URI below its root, {self._root}")
        return dict(self._job.call("files", uri=storage_uri))

    def write(self, relative: str, files: Mapping[str, bytes]) -> str:
        """Write files (path → content) to the new directory ``relative`` below the root; returns the directory's storage URI."""
        if relative.startswith("/") or ".." in relative.split("/"):
            raise UsageError(f"{relative!r} is outside the store", remedy="use a path relative to the store's root")
        uri = f"{self._root}/{relative}"
        encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
        self._job.call("write", uri=uri, files=encoded)
        return uri

    def download(self, storage_uri: str) -> Download:
        """Download exactly ``storage_uri`` with KServe's code. Raises DownloadFailed with its error when it fails."""
        return self._fetch(storage_uri)


class HttpServing:
    """The serving client for an HTTP server at ``url``. ``headers`` are sent with every request, ``log`` returns the runtime's log so far.

    ``failure`` is empty when the model is ready.
    """

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
        """Whether the model was ready before the timeout."""
        return not self._failure

    @property
    def failure(self) -> str:
        """Why the model is not ready, in one line; empty when it is ready."""
        return self._failure

    def infer(self, request: Mapping[str, Any]) -> HttpExchange:
        """POST to the model's ``infer``. Raises CannotTell, with the cause from the runtime's log, when the model never became ready."""
        return self._exchange("POST", f"/v2/models/{self._name}/infer", request)

    def get(self, path: str) -> HttpExchange:
        """GET a path of the server."""
        return self._exchange("GET", path, None)

    def log(self) -> str:
        """The runtime's log so far."""
        return self._log()

    def deploy(self, storage_uri: str) -> contextlib.AbstractContextManager[HttpServing]:
        """A further service for the model at ``storage_uri``, downloaded by the storage initializer."""
        return self._deploy(storage_uri)

    def _exchange(self, method: str, path: str, body: Any) -> HttpExchange:
        if self._failure:
            raise CannotTell(f"the model never became ready: {self._failure}")
        url = f"{self._url}{path}"
        started = time.monotonic()
        with requests.Session() as session:
            session.trust_env = False
            try:
                response = session.request(method, url, json=body, headers=self._headers, timeout=limits.INFER)
            except requests.RequestException as error:
                raise CannotTell(f"no response to {method} {url}: {error}; {first_exception(self.log())}") from error
        try:
            parsed: Any = response.json()
        except ValueError:
            parsed = response.text
        return HttpExchange(
            method=method,
            url=url,
            request=body,
            status=response.status_code,
            body=parsed,
            seconds=time.monotonic() - started,
        )


class DriverPipelines:
    """The pipeline client over the pipeline driver, a job with the stack's KFP SDK."""

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
        """The run that made the handover; waits until it has ended."""
        return self._main_run()

    def run(
        self,
        arguments: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        pipeline: Path | None = None,
    ) -> PipelineRun:
        """One more run. Without ``registered_name`` in ``arguments`` it registers under a new name, so that it does not affect other
        checks.
        """
        return self._run(arguments, environment or {}, pipeline)


def start_serving(
    name: str,
    start: Callable[[], tuple[Process, str]],
    deploy: Callable[[str], contextlib.AbstractContextManager[HttpServing]],
) -> tuple[HttpServing, Process]:
    """A serving client for the runtime that ``start`` starts, and the runtime's process. The model may never become ready."""
    try:
        process, url = start()
        failure = ""
    except ServerFailed as error:
        process, url = error.process, ""
        log = process.text()
        # Without an exception the log does not say why: a server that is still loading after the timeout logs requests only.
        reason = error.message.partition("log tail:")[0].removesuffix("last seen ").rstrip(":; ")
        failure = exception_in(log) or "; last line of its log: ".join(filter(None, (reason, first_exception(log))))
    return HttpServing(name, url=url, failure=failure, log=process.text, deploy=deploy), process


@contextlib.contextmanager
def stopping(serving: HttpServing, process: Process) -> Iterator[HttpServing]:
    """``serving`` for the block; its ``process`` is stopped afterwards."""
    try:
        yield serving
    finally:
        process.stop()


def checksums(directory: Path) -> dict[str, str]:
    """Relative path → SHA-256 of every file below ``directory``; links are followed."""
    digests = {}
    for folder, _, names in os.walk(directory, followlinks=True):
        for name in names:
            path = Path(folder) / name
            digests[path.relative_to(directory).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return dict(sorted(digests.items()))
