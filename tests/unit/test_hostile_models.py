"""Models and servers that mean harm, or that are too large: what they do, and what is said of them. No model is executed."""

from __future__ import annotations

import os
import pickle
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from commandline import call
from fakes.http_server import serving
from fakes.model_registry import FINE, Registry, written

GIBIBYTE = 2**30


class PhonesHome:
    """Connects to a port when it is unpickled."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return socket.create_connection, (("127.0.0.1", self.port), 5)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Where the pickle would call."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


def test_a_pickle_that_would_phone_home_is_judged_without_being_loaded(tmp_path: Path, listener: socket.socket) -> None:
    content = pickle.dumps(PhonesHome(listener.getsockname()[1]))
    directory = written(tmp_path / "model", {**FINE, "model.pkl": content})
    done = call("lint", directory, "--stack", "2024.11")
    assert "found: 1 × model directory" in done.out
    with pytest.raises(BlockingIOError):
        listener.accept()
    pickle.loads(content).close()  # the control: loading it does call
    listener.accept()[0].close()


@pytest.mark.parametrize("name", ["model.pkl", "model.bin"])
def test_a_model_of_20_gigabytes_is_judged_without_being_read_whole(tmp_path: Path, name: str) -> None:
    directory = written(tmp_path / "model", dict(FINE))
    with (directory / name).open("wb") as file:
        os.truncate(file.fileno(), 20 * GIBIBYTE)
    tracemalloc.start()
    began = time.process_time()
    done = call("lint", directory, "--stack", "2024.11", "--contract", "model_files.*", "--contract", "environment.*")
    spent, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert done.code in (0, 1, 2), done
    assert peak < GIBIBYTE // 4
    assert spent < 30


def test_a_registry_that_fails_on_its_seventh_page_has_six_models_judged_and_exits_with_2(tmp_path: Path) -> None:
    directory = written(tmp_path / "model", dict(FINE))

    class Failing(Registry):
        failing = 7
        source = str(directory)
        asked: ClassVar[list[str]] = []

    with serving(Failing) as server:
        done = call("fleet", "--mlflow", f"http://127.0.0.1:{server.server_port}", "--stack", "2024.11")
    assert done.code == 2, done
    assert "the server listed 6 versions and then failed" in done.err
    assert "HTTP 500" in done.err
    assert "judged: 6 of 6 registered versions" in done.out


def test_a_registered_model_of_20_gigabytes_is_not_downloaded_and_unknown() -> None:
    class Large(Registry):
        pages = 1
        source = "mlflow-artifacts:/0/run/artifacts/model"
        size = 20 * GIBIBYTE
        asked: ClassVar[list[str]] = []

    with serving(Large) as server:
        done = call("fleet", "--mlflow", f"http://127.0.0.1:{server.server_port}", "--stack", "2024.11")
    assert done.code == 2, done
    assert "model.pkl cannot be examined: it has 21,474,836,480 bytes and was not downloaded" in done.out
    assert "MLmodel" in Large.asked
    assert "model.pkl" not in Large.asked
