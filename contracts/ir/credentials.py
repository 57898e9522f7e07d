"""Which texts are credentials, by their name or by their form.

A name alone says little: ``secret_name``, ``pad_token`` and ``password_file`` hold none. So a name counts with its last words and with a
value that can be a credential; forms that providers document count under any name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

_FORMS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "an AWS access key id": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
        "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----(?:\s|\\n)*[A-Za-z0-9+/]{20}"),
        "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60})"),
        "a GitLab token": re.compile(r"\bglpat-[\w-]{20}"),
        "a Slack token": re.compile(r"\bxox[abprs]-[\w-]{20}"),
        "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30}"),
        "a Google API key": re.compile(r"\bAIza[\w-]{35}"),
        "a Databricks token": re.compile(r"\bdapi[0-9a-f]{32}"),
        "a JSON web token": re.compile(r"\beyJ[\w-]{10,500}\.eyJ[\w-]{10,5000}\.[\w-]{10}"),
    }
)
"""Forms that the providers document; GitHub's secret scanning lists the same prefixes."""

_USER_INFO = re.compile(r"\b([a-zA-Z][\w+.-]{0,20}://[^\s/:@'\"{}$<>%]*):([^\s/@'\"]+)@(?=[\w.\[-])")
_ASSIGNED = re.compile(
    r"(?:(?:^|(?<=[\s;&?]))-{0,2}([A-Za-z][\w-]{0,60})=|(?<=--)([a-z][\w-]{0,60})\s+)[\"']?([^\s\"';&]+)"
)

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PASSWORDS = ("password", "passwd", "passphrase", "pwd")
_KEYS = ("access key", "access key id", "secret key", "api key", "private key", "account key", "signing key", "apikey")
_TOKENS = (
    *("auth", "access", "api", "bearer", "refresh", "session", "id", "jwt", "user", "bot", "service"),
    *("mlflow", "tracking", "hf", "hub", "github", "gitlab", "wandb", "slack", "databricks"),
)
"""What a token that is a credential is called after; ``pad_token`` and ``page_token`` are none."""
_SECRETS = (
    "client secret",
    "app secret",
    "api secret",
    "shared secret",
    "jwt secret",
    "webhook secret",
    "connection string",
)

_PLACEHOLDER = re.compile(
    r"(?i)<.*>|\[.*\]|\{.*\}|\$.*|%.*|:?\*+|x{3,}|\.{3,}|none|null|true|false|change[-_ ]?me|todo|replace.*|your.*|my[-_].*|example"
    r"|dummy|fake|test|placeholder|redacted|unused|(?:not|un)[-_ ]?(?:set|found|defined|known|available|configured)|missing"
    r"|default|empty|n/?a|invalid|.*\{\{.*"
)
_REFERENCE = re.compile(r"[A-Z][A-Z0-9_]*|[./~].*|\w+://[^@]*|.*\.(json|pem|txt|ya?ml|key|crt|env)")
"""The name of a variable, a path or an address: where a credential is, not what it is."""


def names_credential(name: str) -> str:
    """``password``, ``key``, ``token`` or ``header`` if a parameter, variable or key of this name holds a credential, else empty."""
    words = [word.lower() for word in _WORDS.findall(name)]
    ends = " ".join(words)
    if not words:
        return ""
    if words[-1] in _PASSWORDS or ends == "the password of auth":
        return "password"
    if any(ends == each or ends.endswith(f" {each}") for each in (*_KEYS, *_SECRETS)):
        return "key"
    if words[-1] == "token" and (len(words) == 1 or words[-2] in _TOKENS):
        return "token"
    return "header" if ends == "authorization" else ""


def is_credential(name: str, value: object) -> bool:
    """Whether ``value`` under this name is a credential itself, and no placeholder, path, address or name of a variable."""
    kind = names_credential(name)
    if not kind or not isinstance(value, str):
        return False
    if kind == "header":
        scheme, _, value = value.partition(" ")
        if scheme not in ("Bearer", "Basic"):
            return False
    if not value or re.search(r"\s", value) or _PLACEHOLDER.fullmatch(value) or _REFERENCE.fullmatch(value):
        return False
    if kind == "password" or (kind == "key" and not name.endswith("Key")):
        return True
    # In Kubernetes, the name of a Secret's key stands under such a name: ``secretKey: password``.
    return len(value) >= (12 if kind == "token" else 6) and any(character.isdigit() for character in value)


def credential_in(text: str) -> str:
    """What credential a text of any kind holds, by its form; empty if none."""
    for found in _USER_INFO.finditer(text):
        if not _PLACEHOLDER.fullmatch(found[2]) and "{" not in found[2]:
            return f"a password in the URL {found[1]}:[redacted]@…"
    return next((what for what, form in _FORMS.items() if form.search(text)), "")


def credential_assigned_in(command: str) -> str:
    """The variable or option to which a shell command gives a credential, such as ``export DB_PASSWORD=…``; empty if none."""
    found = ((variable or option, value) for variable, option, value in _ASSIGNED.findall(command))
    return next((name for name, value in found if is_credential(name, value)), "")


def masked(uri: str) -> str:
    """A URI without the user's password, and without the user's name where it may be a token."""
    return re.sub(r"(://)([^\s/@]+)@", r"\1[redacted]@", uri)
