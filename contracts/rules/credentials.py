"""How the storage initializer gets its credentials: from the Secrets of the service's ServiceAccount, or from a storage key.

Read at ``pkg/credentials/service_account_credentials.go`` of KServe 0.12.1, 0.13.1, 0.14.1 and 0.20.0. Judges only objects that are
applied with the service.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import Resource
from trivet.contracts.rules.rule import FRAMEWORKS, Rules, Service, explainers
from trivet.contracts.values import each, mapping, path, text
from trivet.contracts.violation import Violation

CREDENTIALS = Rules("kserve", "kserve")

_SOURCE = "pkg/credentials/service_account_credentials.go"

RELEASED, BUILT_IN = S3_KEYS = (
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ("awsAccessKeyID", "awsSecretAccessKey"),
)
"""The keys of S3 credentials: those of KServe's release (config/configmap/inferenceservice.yaml, credentials), and those that count where
the platform's configuration names none."""

_KINDS = {
    **{secret_key: "s3" for _, secret_key in S3_KEYS},
    "gcloud-application-credentials.json": "gs",
    "AZ_CLIENT_ID": "azure",
    "AZURE_CLIENT_ID": "azure",
    "AZURE_STORAGE_ACCESS_KEY": "azure",
    "AZURE_ACCESS_TOKEN": "azure",
    "https-host": "https",
    "HDFS_NAMENODE": "hdfs",
    "HF_TOKEN": "hf",
}
"""The key by which KServe recognises a Secret's credentials, in its order, and the scheme that they are for; HF_TOKEN since 0.14."""

_TYPES = ("s3", "hdfs", "webhdfs")


def _keys(secret: Resource) -> Mapping[str, Any]:
    return {**mapping(secret.document.get("data")), **mapping(secret.document.get("stringData"))}


def _kind(secret: Resource, service: Service) -> str:
    keys = _keys(secret)
    kind = next((kind for key, kind in _KINDS.items() if key in keys), "")
    return "" if kind == "hf" and not service.since("0.14") else kind


def _meant_for_s3(secret: Resource) -> bool:
    """Whether a Secret is meant to hold S3 credentials, by its annotations and keys."""
    annotations = mapping(mapping(secret.document.get("metadata")).get("annotations"))
    squeezed = ["".join(letter for letter in str(key).lower() if letter.isalpha()) for key in _keys(secret)]
    return any(str(key).startswith("serving.kserve.io/s3-") for key in annotations) or any(
        "accesskey" in key or "secretkey" in key for key in squeezed
    )


def _uris(service: Service, settings: Mapping[str, Any]) -> list[str]:
    names = ("model", *FRAMEWORKS, *explainers(service))
    uris = [text(mapping(settings.get(name)).get("storageUri")) for name in names]
    uris += [text(entry.get("uri")) for _, entry in each(settings.get("storageUris"), ())]
    for _, container in each(settings.get("containers"), ()):
        uris += [
            text(variable.get("value"))
            for _, variable in each(container.get("env"), ())
            if variable.get("name") == "STORAGE_URI"
        ]
    return [uri for uri in uris if uri]


@CREDENTIALS.rule(f"{_SOURCE}, CreateSecretVolumeAndEnv, mountSecretCredential")
def secrets_of_the_service_account(service: Service) -> Iterator[Violation]:
    if not service.platform.of_kind("ServiceAccount"):
        return
    for keys, settings in service.components:
        uri = next(iter(_uris(service, settings)), "")
        account = service.applied("ServiceAccount", text(settings.get("serviceAccountName")) or "default")
        if not uri.startswith("s3://") or account is None:
            continue
        listed = [text(entry.get("name")) for _, entry in each(account.document.get("secrets"), ())]
        found = [one for name in listed if (one := service.applied("Secret", name))]
        annotations = mapping(mapping(account.document.get("metadata")).get("annotations"))
        where = (*keys, "serviceAccountName")
        for one in found:
            if _kind(one, service) == "s3" and not {key_id for key_id, _ in S3_KEYS} & set(_keys(one)):
                yield Violation(
                    where,
                    f"the Secret {one.name}, which the ServiceAccount {account.name} lists, has a secret key and no {RELEASED[0]}",
                )
        if len(found) < len(listed) or any(_kind(one, service) == "s3" for one in found) or _ROLE in annotations:
            continue
        meant = next((one for one in found if not _kind(one, service) and _meant_for_s3(one)), None)
        other = next(iter(_with_credentials(service, "s3", listed)), "")
        if meant:
            yield Violation(
                where,
                f"the Secret {meant.name}, which the ServiceAccount {account.name} lists, has none of the keys that KServe reads "
                f"({', '.join(RELEASED)}), only {', '.join(map(str, _keys(meant))) or 'none'}",
            )
        elif other:
            lists = f"lists {', '.join(listed)}" if listed else "lists no secrets"
            yield Violation(
                where,
                f"the ServiceAccount {account.name} {lists}, and not {other}, which has the credentials for {uri}",
            )


_ROLE = "eks.amazonaws.com/role-arn"


def _with_credentials(service: Service, scheme: str, but: list[str]) -> list[str]:
    """The Secrets that are applied with the service and have credentials for a scheme."""
    return [
        name
        for name in service.platform.of_kind("Secret")
        if name not in but and (one := service.applied("Secret", name)) and _kind(one, service) == scheme
    ]


@CREDENTIALS.rule(f"{_SOURCE}, mountSecretCredential; config/configmap/inferenceservice.yaml, s3SecretAccessKeyName")
def names_of_s3_keys(service: Service) -> Iterator[Violation]:
    for keys, settings in service.components:
        account = service.applied("ServiceAccount", text(settings.get("serviceAccountName")) or "default")
        for _, entry in each(account.document.get("secrets"), ()) if account else ():
            secret = service.applied("Secret", text(entry.get("name")))
            if secret and BUILT_IN[1] in _keys(secret) and RELEASED[1] not in _keys(secret):
                yield Violation(
                    (*keys, "serviceAccountName"),
                    f"the Secret {secret.name} has {BUILT_IN[1]}, and KServe's release reads {RELEASED[1]}",
                    "s3SecretAccessKeyName under credentials of the ConfigMap inferenceservice-config",
                )


@CREDENTIALS.rule(f"{_SOURCE}, CreateSecretVolumeAndEnv: the ServiceAccount default is taken where none is named")
def service_account_is_named(service: Service) -> Iterator[Violation]:
    if not service.platform.of_kind("ServiceAccount"):
        return
    for keys, settings in service.components:
        uris = _uris(service, settings)
        if (
            not uris
            or settings.get("serviceAccountName")
            or "serving.kserve.io/storageSecretName" in service.annotations
        ):
            continue
        scheme = uris[0].partition("://")[0]
        accounts = [
            (name, entry.get("name"))
            for name in service.platform.of_kind("ServiceAccount")
            if name != "default" and (account := service.applied("ServiceAccount", name))
            for _, entry in each(account.document.get("secrets"), ())
        ]
        for secret in _with_credentials(service, scheme, []):
            unused = next((name for name, listed in accounts if listed == secret), None)
            if unused:
                yield Violation(
                    keys,
                    f"{path(keys)} names no serviceAccountName, so the ServiceAccount {unused} with the "
                    f"credentials for {uris[0]} is not used",
                    f"whether the ServiceAccount default of the namespace lists the Secret {secret} too",
                )
                break


@CREDENTIALS.rule(f"{_SOURCE}, CreateStorageSpecSecretEnvs", fields=("storage",))
def storage_key(service: Service) -> Iterator[Violation]:
    name = text(service.annotations.get("serving.kserve.io/storageSecretName")) or "storage-config"
    secret = service.applied("Secret", name)
    if secret is None:
        return
    for component in ("model", *FRAMEWORKS):
        storage = mapping(mapping(service.predictor.get(component)).get("storage"))
        key = text(storage.get("key"))
        at = ("spec", "predictor", component, "storage", "key")
        if not key:
            continue
        keys = _keys(secret)
        if key not in keys:
            yield Violation(at, f"the Secret {name} has no key {key!r}; it has {', '.join(map(str, keys)) or 'none'}")
            continue
        if not mapping(storage.get("parameters")).get("type"):
            yield from _storage_entry(at, f"{key} of the Secret {name}", _entry(secret, key), storage)


def _entry(secret: Resource, key: str) -> Any:
    """The JSON of a storage key; None if it is none."""
    plain = mapping(secret.document.get("stringData")).get(key)
    try:
        value = plain if isinstance(plain, str) else base64.b64decode(text(_keys(secret)[key])).decode()
        return json.loads(value)
    except (ValueError, binascii.Error):
        return None


def _storage_entry(at: Any, what: str, entry: Any, storage: Mapping[str, Any]) -> Iterator[Violation]:
    """Of the JSON of a storage key, which decides where the parameters name no type."""
    if not isinstance(entry, dict):
        yield Violation(at, f'{what} is no JSON object, such as {{"type": "s3", "bucket": …}}')
        return
    kind, parameters = entry.get("type"), mapping(storage.get("parameters"))
    if not kind:
        yield Violation(
            at, f"{what} has no type, so that KServe cannot determine the storage type; use one of {', '.join(_TYPES)}"
        )
    elif kind not in _TYPES:
        yield Violation(at, f"{what} is of type {kind!r}; KServe supports {', '.join(_TYPES)}")
    elif kind == "s3" and storage.get("path") and not entry.get("bucket") and not parameters.get("bucket"):
        yield Violation(at, f"{what} is of type s3 and names no bucket, and neither do the parameters")
