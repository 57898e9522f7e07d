"""Which names hold credentials, and which values are credentials themselves."""

from __future__ import annotations

import pytest

from trivet.contracts.ir.credentials import (
    credential_assigned_in,
    credential_in,
    is_credential,
    masked,
    names_credential,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"

NAMES = {
    "password": (
        *("password", "PASSWORD", "db_password", "dbPassword", "DB-PASSWD", "passphrase", "pwd"),
        "the password of auth",
    ),
    "key": (
        *("access_key", "AWS_ACCESS_KEY_ID", "secretKey", "api-key", "private_key", "accountKey", "signing_key", "apikey"),
        *("client_secret", "app_secret", "apiSecret", "shared_secret", "jwt_secret", "webhook_secret"),
        "CONNECTION_STRING",
    ),
    "token": (
        "token",
        *("auth_token", "access_token", "api_token", "bearer_token", "refresh_token", "session_token", "id_token"),
        *("jwt_token", "user_token", "bot_token", "service_token", "mlflow_token", "MLFLOW_TRACKING_TOKEN", "HF_TOKEN"),
        *("hub_token", "githubToken", "gitlab_token", "WANDB_TOKEN", "slack_token", "databricks_token"),
    ),
    "header": ("Authorization",),
    "": (
        *("", "_", "secret", "secret_name", "secret_key_ref", "key", "monkey", "pad_token", "page_token", "tokens"),
        *("password_file", "max_tokens", "proxy_authorization", "primary key"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names])
def test_a_name_says_what_credential_it_holds(kind: str, name: str) -> None:
    assert names_credential(name) == kind


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "a"),
        ("db_password", "MINIOadmin"),
        ("api_key", "abc"),
        ("token", "abcdefghijk1"),
        ("secretKey", "abcde1"),
        ("Authorization", "Bearer abcde1"),
        ("Authorization", "Basic abcde1"),
    ],
)
def test_a_value_that_is_a_credential(name: str, value: str) -> None:
    assert is_credential(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "hunter2-9f8e7d6c5b4a"),
        ("password", 5),
        ("password", ""),
        ("password", "two words"),
        ("password", "changeme"),
        ("password", "not-set"),
        ("password", "DB_PASSWORD"),
        ("password", "/run/password"),
        ("password", "vault://password"),
        ("token", "abcdefghij1"),
        ("token", "abcdefghijkl"),
        ("secretKey", "abcd1"),
        ("secretKey", "abcdef"),
        ("Authorization", "abcdefghijkl1"),
        ("Authorization", "Digest abcdefghijkl1"),
        ("Authorization", "Bearer"),
    ],
)
def test_a_value_that_is_no_credential(name: str, value: object) -> None:
    assert not is_credential(name, value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("AKIAZ3MSJV4WXYZQWERT", "an AWS access key id"),
        ("-----BEGIN PRIVATE KEY-----\\nabcdefghijklmnopqrst", "a private key"),
        (f"gho_{LETTERS}", "a GitHub token"),
        (f"github_pat_{LETTERS}{LETTERS[:24]}", "a GitHub token"),
        ("glpat-abcdefghijklmnopqrst", "a GitLab token"),
        ("xoxb-abcdefghijklmnopqrst", "a Slack token"),
        (f"hf_{LETTERS[:30]}", "a Hugging Face token"),
        (f"AIza{LETTERS[:35]}", "a Google API key"),
        ("dapi0123456789abcdef0123456789abcdef", "a Databricks token"),
        ("eyJabcdefghij.eyJabcdefghij.abcdefghij", "a JSON web token"),
        ("curl https://ci:hunter2@host/", "a password in the URL https://ci:[redacted]@…"),
        ("https://ci:changeme@host and https://:hunter2@host", "a password in the URL https://:[redacted]@…"),
    ],
)
def test_a_text_that_holds_a_credential(text: str, what: str) -> None:
    assert credential_in(text) == what


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://host/a",
        "https://ci@host",
        "https://ci:changeme@host",
        "https://{user}:{password}@host",
        "https://ci:a-{b}@host",
        "hf_abc",
    ],
)
def test_a_text_that_holds_no_credential(text: str) -> None:
    assert credential_in(text) == ""


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("export DB_PASSWORD=hunter2", "DB_PASSWORD"),
        ("A=b DB_PASSWORD='hunter2' train", "DB_PASSWORD"),
        ("train --db-password hunter2", "db-password"),
        ("train --db-password=hunter2", "db-password"),
        ("train --db-password $DB_PASSWORD", ""),
        ("train --rows 5", ""),
        ("", ""),
    ],
)
def test_a_command_gives_a_credential_to_a_variable_or_an_option(command: str, name: str) -> None:
    assert credential_assigned_in(command) == name


def test_a_uri_is_masked_with_its_user() -> None:
    assert masked("https://token@host/a") == "https://[redacted]@host/a"
    assert masked("https://ci:hunter2@host/a") == "https://[redacted]@host/a"
    assert masked("https://host/a") == "https://host/a"
