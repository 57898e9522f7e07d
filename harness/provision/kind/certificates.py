"""Self-signed certificates for admission webhooks, and their injection into manifests; cert-manager does this in production clusters."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trivet.provision.kind import manifests
from trivet.provision.kind.manifests import KubernetesObject

LIFETIME = datetime.timedelta(days=3650)
_WEBHOOKS = "/webhooks/*/clientConfig/caBundle"
_CA_BUNDLE = {
    "MutatingWebhookConfiguration": _WEBHOOKS,
    "ValidatingWebhookConfiguration": _WEBHOOKS,
    "CustomResourceDefinition": "/spec/conversion/webhook/clientConfig/caBundle",
}
"""Kind → the field with the CA bundle of the webhooks that it names."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A self-signed certificate and its key, both PEM."""

    certificate: str
    key: str = field(repr=False)

    @property
    def bundle(self) -> str:
        """The certificate as the ``caBundle`` of a webhook configuration: PEM in base64."""
        return _base64(self.certificate)


def cached_certificate(folder: Path, service: str, namespace: str) -> Certificate:
    """The certificate for a service, read from ``folder``, or created there: a second apply must not change the manifests."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / f"{service}.crt", folder / f"{service}.key"
    if not certificate.is_file():
        new = make_certificate(service, namespace)
        key.touch(mode=0o600)
        key.write_text(new.key, encoding="utf-8")
        unfinished = certificate.with_suffix(".unfinished")
        unfinished.write_text(new.certificate, encoding="utf-8")
        unfinished.replace(certificate)
    return Certificate(certificate=certificate.read_text(encoding="utf-8"), key=key.read_text(encoding="utf-8"))


def make_certificate(service: str, namespace: str) -> Certificate:
    """A new certificate for the DNS names by which the API server calls a service."""
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
        # The clocks of host and containers may differ slightly.
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
    objects: Sequence[KubernetesObject], certificate: Certificate, *, secret: str, namespace: str
) -> list[KubernetesObject]:
    """The objects, with ``certificate`` as CA bundle of every webhook, also of those that convert custom resources, and a Secret with the
    certificate and its key.
    """
    tls_secret = manifests.render(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": secret, "namespace": namespace},
            "data": {"tls.crt": certificate.bundle, "tls.key": _base64(certificate.key)},
        }
    )
    with_bundle = [_with_bundle(one, certificate.bundle) if _names_webhooks(one) else one for one in objects]
    # The Secret may come last: namespaces among the objects are applied before everything else.
    return [*with_bundle, tls_secret]


def _names_webhooks(one: KubernetesObject) -> bool:
    if one.kind == "CustomResourceDefinition":
        # Most have no conversion, and are a megabyte of YAML.
        return "conversion:" in one.text and "webhook" in manifests.parse(one)["spec"].get("conversion", {})
    return one.kind in _CA_BUNDLE


def _with_bundle(one: KubernetesObject, bundle: str) -> KubernetesObject:
    (found,) = manifests.apply_patches([one], [manifests.Patch(on=[one.id], set={_CA_BUNDLE[one.kind]: bundle})])
    return found


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
