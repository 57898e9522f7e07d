"""A client of the OCI distribution API, as much of it as keeping images in a registry of our own takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests

from trivet.errors import PlatformError
from trivet.provision.images.tars import Written

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
_TIMEOUT = 300.0
"""Seconds without a byte from the store; taking in a blob of a gigabyte on a busy machine is what takes longest."""
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ImageManifest:
    """A manifest as stored: its bytes decide its digest."""

    digest: str
    content: Mapping[str, Any]
    raw: bytes


class ImageRegistry:
    """The registry at ``url``. Safe to use from several threads. Raises PlatformError for what it refuses."""

    def __init__(self, url: str) -> None:
        self.url = url

    def answers(self) -> bool:
        """Whether there is a registry at the address."""
        try:
            return requests.get(f"{self.url}/v2/", timeout=5).ok
        except requests.RequestException:
            return False

    def has_blob(self, path: str, digest: str) -> bool:
        """Whether a blob is in a repository."""
        return self._call("HEAD", f"/v2/{path}/blobs/{digest}", allowed=(404,)).ok

    def push_blob(self, path: str, file: Path, written: Written) -> None:
        """Put a file into a repository as a blob."""
        place = self._call("POST", f"/v2/{path}/blobs/uploads/").headers["Location"]
        with file.open("rb") as content:
            self._call(
                "PUT",
                _with_digest(place, written.digest),
                # An empty file object would be sent chunked, which registries refuse for a PUT.
                data=content if written.size else b"",
                headers={"Content-Type": "application/octet-stream", "Content-Length": str(written.size)},
            )

    def push_bytes(self, path: str, content: bytes, digest: str) -> None:
        """Put bytes into a repository as a blob."""
        if not self.has_blob(path, digest):
            place = self._call("POST", f"/v2/{path}/blobs/uploads/").headers["Location"]
            headers = {"Content-Type": "application/octet-stream"}
            self._call("PUT", _with_digest(place, digest), data=content, headers=headers)

    def mount_blob(self, path: str, digest: str, source: str) -> bool:
        """Have a repository share a blob of repository ``source``. False when that one does not have it."""
        if self.has_blob(path, digest):
            return True
        answer = self._call("POST", f"/v2/{path}/blobs/uploads/?mount={digest}&from={source}")
        if answer.status_code == 201:
            return True
        self._call("DELETE", answer.headers["Location"], allowed=(404,))
        return False

    def blob(self, path: str, digest: str) -> Iterator[bytes]:
        """A blob's content in pieces."""
        with self._call("GET", f"/v2/{path}/blobs/{digest}", stream=True) as answer:
            yield from answer.iter_content(_CHUNK)

    def manifest(self, path: str, tag: str) -> ImageManifest | None:
        """What a tag stands for, None when there is no such tag."""
        answer = self._call("GET", f"/v2/{path}/manifests/{tag}", headers={"Accept": MANIFEST}, allowed=(404,))
        if not answer.ok:
            return None
        digest = answer.headers["Docker-Content-Digest"]
        return ImageManifest(digest=digest, content=json.loads(answer.content), raw=answer.content)

    def put_manifest(self, path: str, tag: str, raw: bytes) -> None:
        """Let a tag stand for a manifest, all of whose blobs are in the repository."""
        self._call("PUT", f"/v2/{path}/manifests/{tag}", data=raw, headers={"Content-Type": MANIFEST})

    def _call(self, method: str, place: str, *, allowed: tuple[int, ...] = (), **options: Any) -> requests.Response:
        try:
            # Proxies are for the outer world; this registry is on this machine.
            with requests.Session() as session:
                session.trust_env = False
                answer = session.request(method, urljoin(self.url, place), timeout=_TIMEOUT, **options)
        except requests.RequestException as error:
            raise PlatformError(
                f"the image store at {self.url} does not answer: {error}",
                remedy="see `docker logs` of its container; `trivet images build` starts it anew",
            ) from error
        if not answer.ok and answer.status_code not in allowed:
            raise PlatformError(
                f"the image store at {self.url} refused {method} {place}: HTTP {answer.status_code} {answer.text[:500]}",
                remedy="see `docker logs` of its container, and that there is disk space",
            )
        return answer


def _with_digest(place: str, digest: str) -> str:
    return f"{place}{'&' if '?' in place else '?'}digest={digest}"
