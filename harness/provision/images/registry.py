"""A client of the OCI distribution API: the calls that the image store needs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests

from trivet.errors import PlatformError
from trivet.provision.images.tars import Descriptor

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
_TIMEOUT = 300.0
"""Seconds without a byte from the store. The slowest call is the upload of a blob of one gigabyte on a busy machine."""
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ImageManifest:
    """A manifest as stored. ``digest`` is over the bytes in ``raw``."""

    digest: str
    content: Mapping[str, Any]
    raw: bytes


class ImageRegistry:
    """The registry at ``url``. Thread-safe. Methods raise PlatformError when the registry does not respond or refuses the request."""

    def __init__(self, url: str) -> None:
        self.url = url

    def responds(self) -> bool:
        """Whether a registry responds at the URL."""
        try:
            return requests.get(f"{self.url}/v2/", timeout=5).ok
        except requests.RequestException:
            return False

    def has_blob(self, path: str, digest: str) -> bool:
        """Whether a repository has a blob."""
        return self._call("HEAD", f"/v2/{path}/blobs/{digest}", allowed=(404,)).ok

    def push_blob(self, path: str, file: Path, descriptor: Descriptor) -> None:
        """Upload a file to a repository as a blob."""
        location = self._call("POST", f"/v2/{path}/blobs/uploads/").headers["Location"]
        with file.open("rb") as content:
            self._call(
                "PUT",
                _with_digest(location, descriptor.digest),
                # requests sends an empty file object chunked, which registries refuse for a PUT.
                data=content if descriptor.size else b"",
                headers={"Content-Type": "application/octet-stream", "Content-Length": str(descriptor.size)},
            )

    def push_bytes(self, path: str, content: bytes, digest: str) -> None:
        """Upload bytes to a repository as a blob, unless it has the blob."""
        if not self.has_blob(path, digest):
            location = self._call("POST", f"/v2/{path}/blobs/uploads/").headers["Location"]
            headers = {"Content-Type": "application/octet-stream"}
            self._call("PUT", _with_digest(location, digest), data=content, headers=headers)

    def mount_blob(self, path: str, digest: str, source: str) -> bool:
        """Mount a blob of the repository ``source`` into another one. False when ``source`` does not have it."""
        if self.has_blob(path, digest):
            return True
        response = self._call("POST", f"/v2/{path}/blobs/uploads/?mount={digest}&from={source}")
        if response.status_code == 201:
            return True
        self._call("DELETE", response.headers["Location"], allowed=(404,))
        return False

    def blob(self, path: str, digest: str) -> Iterator[bytes]:
        """A blob's content in chunks."""
        with self._call("GET", f"/v2/{path}/blobs/{digest}", stream=True) as response:
            yield from response.iter_content(_CHUNK)

    def manifest(self, path: str, tag: str) -> ImageManifest | None:
        """The manifest of a tag; None when there is no such tag."""
        response = self._call("GET", f"/v2/{path}/manifests/{tag}", headers={"Accept": MANIFEST}, allowed=(404,))
        if not response.ok:
            return None
        digest = response.headers["Docker-Content-Digest"]
        return ImageManifest(digest=digest, content=json.loads(response.content), raw=response.content)

    def put_manifest(self, path: str, tag: str, raw: bytes) -> None:
        """Upload a manifest under a tag. All of its blobs must be in the repository."""
        self._call("PUT", f"/v2/{path}/manifests/{tag}", data=raw, headers={"Content-Type": MANIFEST})

    def _call(self, method: str, path: str, *, allowed: tuple[int, ...] = (), **options: Any) -> requests.Response:
        try:
            # trust_env=False: the registry is on this machine, so no HTTP proxy applies.
            with requests.Session() as session:
                session.trust_env = False
                response = session.request(method, urljoin(self.url, path), timeout=_TIMEOUT, **options)
        except requests.RequestException as error:
            raise PlatformError(
                f"the image store at {self.url} does not respond: {error}",
                remedy="see `docker logs` of its container; `trivet images build` restarts it",
            ) from error
        if not response.ok and response.status_code not in allowed:
            raise PlatformError(
                f"the image store at {self.url} refused {method} {path}: HTTP {response.status_code} {response.text[:500]}",
                remedy="see `docker logs` of its container, and check that the disk is not full",
            )
        return response


def _with_digest(location: str, digest: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"
