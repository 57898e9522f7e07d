"""``trivet monitor`` on the command line: what it writes, and what is wrong usage."""

from __future__ import annotations

from pathlib import Path

import pytest
from commandline import call, refused


def test_render_writes_its_files_and_says_which(tmp_path: Path) -> None:
    done = call("monitor", "render", "--gpu", "dcgm:9400", str(tmp_path / "out"))
    assert (done.code, done.err) == (0, "")
    written = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert sorted(done.out.splitlines()) == [f"wrote {path}" for path in written]
    assert len(written) == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("render", "-n", "NOT valid", "out"), "'NOT valid' is no name of a namespace"),
        (("render", "--exporter", "http://e:1", "out"), "the address of the exporter is 'http://e:1'"),
        (("render", "--stack", "curent", "out"), "did you mean 'current'"),
        (("export",), "there is nothing to export"),
        (("export", "--mlflow", "mlflow:5000"), "is not an HTTP address"),
        (("export", "--kfp", "kfp:8888"), "is no HTTP address"),
        (("export", "--kfp", "http://kfp:8888", "--listen", "9469"), "--listen '9469' is no address"),
    ],
)
def test_wrong_usage_writes_nothing(arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert message in refused("monitor", *arguments)
    assert not Path("out").exists()


def test_a_source_that_cannot_be_read_once_is_a_series_and_exit_code_2() -> None:
    done = call("monitor", "export", "--once", "--kfp", "http://127.0.0.1:9")
    assert done.code == 2
    assert 'trivet_exporter_up{source="kfp"} 0.0' in done.out
    assert "trivet: kfp: GET /apis/v2beta1/runs at http://127.0.0.1:9" in done.err
    assert "Traceback" not in done.err
