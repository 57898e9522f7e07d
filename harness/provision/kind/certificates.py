"""A self-signed certificate for an admission webhook, and where it goes: what cert-manager does in a production cluster."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trivet.provision.kind import manifests
from trivet.provision.kind.manifests import Document

LIFETIME = datetime.timedelta(days=3650)
_WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate that signs itself, and its key, both PEM."""

    certificate: str
    key: str = field(repr=False)

    @property
    def bundle(self) -> str:
        """The certificate as webhook configurations want their CA bundle."""
        return _base64(self.certificate)


def kept_certificate(folder: Path, service: str, namespace: str) -> Certificate:
    """The certificate for a service, from ``folder`` when it is there and made otherwise: applying twice must change nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / f"{service}.crt", folder / f"{service}.key"
    if not certificate.is_file():
        made = make_certificate(service, namespace)
        key.touch(mode=0o600)
        key.write_text(made.key, encoding="utf-8")
        unfinished = certificate.with_suffix(".unfinished")
        unfinished.write_text(made.certificate, encoding="utf-8")
        unfinished.replace(certificate)
    return Certificate(certificate=certificate.read_text(encoding="utf-8"), key=key.read_text(encoding="utf-8"))


def make_certificate(service: str, namespace: str) -> Certificate:
    """A new certificate for the names that the API server reaches a service by."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{service}.{namespace}.svc"[:64])])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of a host and of its containers may differ a little.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(f"{service}.{namespace}.{end}") for end in ("svc", "svc.cluster.local")]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        certificate=signed.public_bytes(serialization.Encoding.PEM).decode(),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )


def with_certificate(
    found: Sequence[Document], certificate: Certificate, *, secret: str, namespace: str
) -> list[Document]:
    """The documents, the webhook configurations among them trusting ``certificate``, and before them the secret that holds it."""
    held = manifests.render(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": secret, "namespace": namespace},
            "data": {"tls.crt": certificate.bundle, "tls.key": _base64(certificate.key)},
        }
    )
    trusting = [
        manifests.patched(
            [one], [manifests.Patch(on=[one.id], set={"/webhooks/*/clientConfig/caBundle": certificate.bundle})]
        )[0]
        if one.kind in _WEBHOOKS
        else one
        for one in found
    ]
    # The namespace of the secret is among the documents; a kind of its own sorts first when they are applied.
    return [*trusting, held]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
