"""A tracking server with one model in several versions, for what no real server does on demand: failing late, and being slow."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from contract_examples.test_static_environment import SOUND

LOADER = "loader_module: mlflow.sklearn"
FINE = {
    **SOUND,
    "MLmodel": str(SOUND["MLmodel"]).replace(LOADER, f"{LOADER}\n    model_path: model.pkl")
    + """\
signature:
  inputs: '[{"type": "double", "name": "x", "required": true}]'
  outputs: '[{"type": "long", "required": true}]'
""",
}
"""A model that nothing is wrong with."""


def written(directory: Path, files: dict[str, str | bytes]) -> Path:
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return directory


class Registry(BaseHTTPRequestHandler):
    """What a tracking server answers: a page for each version. ``failing`` is the number of the page that fails, 0 for none.

    A version is the directory ``source`` of this machine, or at another source the files of FINE with a ``model.pkl`` of ``size`` bytes.
    """

    pages = 9
    failing = 0
    seconds = 0.0
    """How long a file takes."""
    source = ""
    size = 0
    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append(parts.path)
        page = int(query.get("page_token", "1"))
        status = 200
        body: dict[str, Any] = {}
        if parts.path.endswith("registered-models/search"):
            body = {"registered_models": [{"name": "churn"}]}
        elif parts.path.endswith("model-versions/search"):
            entry = {"name": "churn", "version": str(page), "source": self.source, "run_id": "0" * 32}
            body = {"model_versions": [entry], **({"next_page_token": str(page + 1)} if page < self.pages else {})}
            status = 500 if page == self.failing else 200
        elif parts.path.endswith("runs/get"):
            body = {"run": {"info": {"artifact_uri": "mlflow-artifacts:/0/run/artifacts"}}}
        elif parts.path.endswith("artifacts/list"):
            files: list[dict[str, Any]] = [
                {"path": f"model/{name}", "is_dir": False, "file_size": len(text)} for name, text in FINE.items()
            ]
            files = [one for one in files if one["path"] != "model/model.pkl"]
            body = {"files": [*files, {"path": "model/model.pkl", "is_dir": False, "file_size": self.size}]}
        content = json.dumps(body).encode()
        if parts.path.endswith("get-artifact"):
            name = query["path"].rpartition("/")[2]
            text = FINE[name]
            content = text if isinstance(text, bytes) else text.encode()
            self.asked.append(name)
            time.sleep(self.seconds)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass
