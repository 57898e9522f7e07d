"""Kubernetes' syntax of names, labels and images (apimachinery 0.30.14 and 0.35.0, pkg/util/validation)."""

from __future__ import annotations

import re
from functools import lru_cache

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_ENV = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_PORT = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")


def label_problem(value: str) -> str:
    """Why ``value`` is no DNS label (RFC 1123), such as the name of a container; empty if it is one."""
    if len(value) > 63:
        return f"it has {len(value)} characters, and a DNS label at most 63"
    return "" if _LABEL.fullmatch(value) else "it must consist of a-z, 0-9 and '-', alphanumeric at both ends"


def subdomain_problem(value: str) -> str:
    """Why ``value`` is no DNS subdomain (RFC 1123), such as the name of a ServiceAccount; empty if it is one."""
    if len(value) > 253:
        return f"it has {len(value)} characters, and a DNS name at most 253"
    return "" if _SUBDOMAIN.fullmatch(value) else "it must consist of a-z, 0-9, '-' and '.', alphanumeric at both ends"


@lru_cache(maxsize=4096)
def qualified_problem(key: str) -> str:
    """Why ``key`` is no key of a label or annotation; empty if it is one."""
    prefix, slash, name = key.rpartition("/")
    if slash and subdomain_problem(prefix):
        return f"its prefix {prefix!r} is no DNS name"
    if len(name) > 63:
        return f"its name has {len(name)} characters, and at most 63 are allowed"
    return (
        ""
        if _NAME.fullmatch(name)
        else f"its name {name!r} must consist of A-Z, a-z, 0-9, '-', '_' and '.', alphanumeric at both ends"
    )


def label_value_problem(value: str) -> str:
    """Why ``value`` is no value of a label; empty if it is one."""
    if len(value) > 63:
        return f"it has {len(value)} characters, and at most 63 are allowed"
    return (
        ""
        if not value or _NAME.fullmatch(value)
        else "it must consist of A-Z, a-z, 0-9, '-', '_' and '.', alphanumeric at both ends"
    )


def env_problem(name: str) -> str:
    """Why ``name`` is no name of an environment variable; empty if it is one."""
    if name == "." or name.startswith(".."):
        return "it must not be '.' or begin with '..'"
    return (
        ""
        if _ENV.fullmatch(name)
        else "it must consist of letters, digits, '_', '-' and '.', and not begin with a digit"
    )


def relaxed_env_problem(name: str) -> str:
    """Why ``name`` is no name of an environment variable since Kubernetes 1.32; empty if it is one."""
    if not name:
        return "it is empty"
    fits = all(" " <= letter <= "~" and letter != "=" for letter in name)
    return "" if fits else "it must consist of printable ASCII characters other than '='"


def port_name_problem(name: str) -> str:
    """Why ``name`` is no name of a port (IANA service name); empty if it is one."""
    if len(name) > 15:
        return f"it has {len(name)} characters, and at most 15 are allowed"
    fits = _PORT.fullmatch(name) and "--" not in name and re.search("[a-z]", name)
    return "" if fits else "it must consist of a-z, 0-9 and single '-', with a letter"


def data_key_problem(key: str) -> str:
    """Why ``key`` is no key of a Secret or ConfigMap; empty if it is one."""
    if key == "." or key.startswith("..") or len(key) > 253:
        return "it must not be '.', begin with '..' or have more than 253 characters"
    return "" if _KEY.fullmatch(key) else "it must consist of letters, digits, '-', '_' and '.'"


_DOMAIN = re.compile(
    r"([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(:[0-9]+)?"
)
_REPOSITORY = re.compile(r"[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}")


def image_problem(reference: str) -> str:
    """Why the kubelet cannot read the reference of an image; empty if it can (github.com/distribution/reference, ParseNormalizedNamed)."""
    first, slash, rest = reference.partition("/")
    has_domain = bool(slash) and ("." in first or ":" in first or first != first.lower())
    if has_domain and not _DOMAIN.fullmatch(first):
        return f"{first!r} is no host"
    name, at, digest = (rest if has_domain else reference).partition("@")
    repository, colon, tag = name.partition(":")
    if repository != repository.lower():
        return "a repository is in lower case"
    if not _REPOSITORY.fullmatch(repository):
        return f"{repository!r} is no repository"
    if colon and not _TAG.fullmatch(tag):
        return f"{tag!r} is no tag"
    return f"{digest!r} is no digest" if at and not _DIGEST.fullmatch(digest) else ""
