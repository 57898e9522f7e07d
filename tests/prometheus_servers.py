"""A real Prometheus, as trivet's platforms build it, for live tests; it is compiled once, which needs Go."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from trivet.host.processes import free_ports
from trivet.integration.prometheus import Prometheus, PrometheusError
from trivet.provision.images.build import build_program
from trivet.provision.images.recipes import GoLayer, images_of
from trivet.stacks.read import load_stack

STARTUP = 60.0
INTERVAL = 1.0
"""Seconds between two scrapes."""


@cache
def prometheus_program() -> Path:
    """The program in the platform's image of Prometheus."""
    (layer,) = (
        layer
        for image in images_of(load_stack("current")).images
        if image.reference.path == "prom/prometheus"
        for layer in image.layers
        if isinstance(layer, GoLayer)
    )
    return build_program(layer)


def target(port: int, *, job: str, **labels: str) -> dict[str, Any]:
    """A scrape configuration of one target, with the labels that a cluster's copies from pods."""
    return {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}]}


class PrometheusServer:
    """A Prometheus that scrapes ``targets`` each INTERVAL; ``web`` is its web configuration (TLS, users)."""

    def __init__(
        self, folder: Path, targets: Sequence[Mapping[str, Any]], *, web: Mapping[str, Any] | None = None
    ) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        seconds = f"{INTERVAL * 1000:.0f}ms"
        settings = {"global": {"scrape_interval": seconds, "scrape_timeout": seconds}, "scrape_configs": list(targets)}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
        self._options: list[str] = []
        if web is not None:
            (folder / "web.yml").write_text(yaml.safe_dump(web))
            self._options = [f"--web.config.file={folder}/web.yml"]
        (self._port,) = free_ports(1)
        self.url = f"{'https' if web and 'tls_server_config' in web else 'http'}://127.0.0.1:{self._port}"
        self.process: psutil.Popen | None = None

    def start(self, client: Prometheus) -> None:
        """Start, and wait until a query is answered."""
        command = [str(prometheus_program()), f"--config.file={self._folder}/prometheus.yml"]
        command += [f"--storage.tsdb.path={self._folder}/data", f"--web.listen-address=127.0.0.1:{self._port}"]
        with (self._folder / "prometheus.log").open("ab") as log:
            self.process = psutil.Popen([*command, *self._options], stdout=log, stderr=log, cwd=self._folder)
        end = time.monotonic() + STARTUP
        while time.monotonic() < end and self.process.poll() is None:
            try:
                client.now()
            except PrometheusError:
                time.sleep(0.1)
            else:
                return
        pytest.fail(f"Prometheus does not answer: {(self._folder / 'prometheus.log').read_text()[-2000:]}")

    def forget(self) -> None:
        """Delete what it has stored; it must not run."""
        shutil.rmtree(self._folder / "data")

    def stop(self) -> None:
        """End it as a crash does, whatever state it is in."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
