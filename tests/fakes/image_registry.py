"""As much of a registry as the image store's client asks of one, in this process; and a stack whose images are small files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from fakes.http_server import serving
from trivet.provision.images.names import parse_reference
from trivet.provision.images.recipes import STORE, File, FilesLayer, Image, ImageSet, Layer, inputs_digest
from trivet.provision.images.registry import ImageRegistry


class Content:
    """What the registry holds: (repository, digest) → blob, (repository, tag) → manifest."""

    def __init__(self) -> None:
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], bytes] = {}


@contextmanager
def registry() -> Iterator[tuple[ImageRegistry, Content]]:
    """A registry on a free port, and what it holds."""
    content = Content()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path == "/v2/":
                return self.answer(200)
            where, kind, name = path.removeprefix("/v2/").rsplit("/", 2)
            if kind == "blobs" and (blob := content.blobs.get((where, name))) is not None:
                return self.answer(200, blob)
            if kind == "manifests" and (raw := content.manifests.get((where, name))) is not None:
                return self.answer(200, raw, {"Docker-Content-Digest": f"sha256:{hashlib.sha256(raw).hexdigest()}"})
            return self.answer(404)

        def do_POST(self) -> None:
            parts = urlsplit(self.path)
            where = parts.path.removeprefix("/v2/").removesuffix("/blobs/uploads/")
            asked = parse_qs(parts.query)
            if "mount" in asked:
                blob = content.blobs.get((asked["from"][0], asked["mount"][0]))
                if blob is not None:
                    content.blobs[where, asked["mount"][0]] = blob
                    return self.answer(201)
            return self.answer(202, headers={"Location": f"/v2/{where}/blobs/uploads/one?state=x"})

        def do_DELETE(self) -> None:
            self.answer(204)

        def do_PUT(self) -> None:
            parts = urlsplit(self.path)
            body = self.body()
            if "/blobs/uploads/" in parts.path:
                where = parts.path.removeprefix("/v2/").split("/blobs/uploads/")[0]
                digest = parse_qs(parts.query)["digest"][0]
                if digest != f"sha256:{hashlib.sha256(body).hexdigest()}":
                    return self.answer(400, b"digest invalid")
                content.blobs[where, digest] = body
                return self.answer(201)
            where, _, tag = parts.path.removeprefix("/v2/").rsplit("/", 2)
            manifest = json.loads(body)
            for one in (manifest["config"], *manifest["layers"]):
                if (where, one["digest"]) not in content.blobs:
                    return self.answer(400, b"blob unknown")
            content.manifests[where, tag] = body
            return self.answer(201)

    with serving(Handler) as server:
        yield ImageRegistry(f"http://127.0.0.1:{server.server_port}"), content


def small_layer(name: str, text: str = "") -> FilesLayer:
    return FilesLayer(name=name, files=(File(path=f"/etc/{name}", text=text),))


def small_image(name: str, *layers: Layer) -> Image:
    inputs = hashlib.sha256("".join(inputs_digest(layer) for layer in layers).encode()).hexdigest()
    return Image(reference=parse_reference(name), layers=layers, config={"Cmd": ["x"]}, pull=name, inputs=inputs)


def small_set(*images: Image) -> ImageSet:
    """A set of ``images`` and the store's own."""
    store_image = small_image(f"docker.io/{STORE}:1", small_layer("store"))
    return ImageSet(stack="small", key="small-0123", images=(store_image, *images))
