"""Examples of the contracts over the way of a model from the registry through the store to the runtime."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from contract_examples.live import Instead, findings, handed_over, served_from
from contract_examples.registry import failing, passing

from trivet.contracts.paths import EMPTY_FILE, MODEL_FILES
from trivet.model.clients import StoreClient
from trivet.model.finding import Finding
from trivet.model.handover import Download, Handover
from trivet.targets.local.session import LocalSession

pytestmark = pytest.mark.processes

PROXIED = "mlflow-artifacts:/2/0123/artifacts/model"


def above(uri: str) -> str:
    """The directory above."""
    return uri.rstrip("/").rpartition("/")[0] + "/"


def without_empty_files(store: StoreClient) -> Instead:
    """A store whose files arrive as from S3 since KServe 0.17.1, which skips objects of no bytes."""
    return without(store, hashlib.sha256(b"").hexdigest())


def without(store: StoreClient, content: str) -> Instead:
    """A store of which files with the SHA-256 ``content`` do not arrive."""

    def download(uri: str) -> Download:
        got = store.download(uri)
        return replace(got, files={path: digest for path, digest in got.files.items() if digest != content})

    return Instead(store, download=download)


# storage_uri_names_the_model_directory


@failing("paths.storage_uri_names_the_model_directory", because="is too high: MLmodel is in model/MLmodel")
def test_a_uri_one_level_too_high(session: LocalSession, handover: Handover) -> list[Finding]:
    example = served_from(handover, above(handover.storage_uri))
    return findings(session, "paths.storage_uri_names_the_model_directory", handover=example)


@failing("paths.storage_uri_names_the_model_directory", because="holds 0 files and no MLmodel")
def test_a_uri_of_nothing(session: LocalSession, handover: Handover) -> list[Finding]:
    example = served_from(handover, f"{above(handover.storage_uri)}modle/")
    return findings(session, "paths.storage_uri_names_the_model_directory", handover=example)


@failing("paths.storage_uri_names_the_model_directory", because="is not in this store")
def test_a_uri_that_leads_to_the_tracking_server(session: LocalSession, handover: Handover) -> list[Finding]:
    example = served_from(handover, PROXIED)
    return findings(session, "paths.storage_uri_names_the_model_directory", handover=example)


@passing("paths.storage_uri_names_the_model_directory")
def test_the_uri_that_was_resolved(session: LocalSession) -> list[Finding]:
    return findings(session, "paths.storage_uri_names_the_model_directory")


# every_uri_resolves_to_the_same_files


@failing("paths.every_uri_resolves_to_the_same_files", because="whose files differ from the served ones")
def test_an_alias_of_another_version(session: LocalSession) -> list[Finding]:
    trainer = session.client("trainer")
    trainer.log_model(estimator="logistic-regression", register_as="example-alias", alias="production")
    served = trainer.log_model(estimator="logistic-regression", seed=8, register_as="example-alias")
    return findings(session, "paths.every_uri_resolves_to_the_same_files", handover=handed_over(session, served))


@failing("paths.every_uri_resolves_to_the_same_files", because="@production does not resolve")
def test_an_alias_that_nobody_set(session: LocalSession) -> list[Finding]:
    served = session.client("trainer").log_model(estimator="logistic-regression", register_as="example-no-alias")
    return findings(session, "paths.every_uri_resolves_to_the_same_files", handover=handed_over(session, served))


@failing("paths.every_uri_resolves_to_the_same_files", because="MLflow downloads other files")
def test_a_client_that_caches_an_older_model(session: LocalSession) -> list[Finding]:
    trainer = session.client("trainer")
    older = trainer.artifacts(f"runs:/{trainer.log_model(estimator='logistic-regression').run_id}/model")
    return findings(
        session, "paths.every_uri_resolves_to_the_same_files", trainer=Instead(trainer, artifacts=lambda uri: older)
    )


@passing("paths.every_uri_resolves_to_the_same_files")
def test_the_names_of_the_handover(session: LocalSession) -> list[Finding]:
    return findings(session, "paths.every_uri_resolves_to_the_same_files")


# download_is_byte_identical


@failing("paths.download_is_byte_identical", because="the storage initializer does not fetch mlflow-artifacts:/")
def test_a_uri_that_the_initializer_refuses(session: LocalSession, handover: Handover) -> list[Finding]:
    return findings(session, "paths.download_is_byte_identical", handover=served_from(handover, PROXIED))


@failing("paths.download_is_byte_identical", because="1 files differ after the download: code/__init__.py")
def test_an_initializer_that_leaves_out_empty_files(session: LocalSession, handover: Handover) -> list[Finding]:
    store = session.client("store")
    example = served_from(handover, store.write("example-with-empty-file", {**MODEL_FILES, EMPTY_FILE: b""}))
    return findings(session, "paths.download_is_byte_identical", handover=example, store=without_empty_files(store))


@passing("paths.download_is_byte_identical")
def test_an_initializer_that_fetches_empty_files(session: LocalSession, handover: Handover) -> list[Finding]:
    example = served_from(
        handover, session.client("store").write("example-with-empty-file", {**MODEL_FILES, EMPTY_FILE: b""})
    )
    return findings(session, "paths.download_is_byte_identical", handover=example)


@passing("paths.download_is_byte_identical")
def test_the_model_that_was_handed_over(session: LocalSession) -> list[Finding]:
    return findings(session, "paths.download_is_byte_identical")


# any_directory_name_is_downloaded_or_rejected


@failing("paths.any_directory_name_is_downloaded_or_rejected", because="arrives as ['MLmodel', 'code/util.py']")
def test_names_with_an_initializer_that_leaves_out_a_file(session: LocalSession) -> list[Finding]:
    store = without(session.client("store"), hashlib.sha256(MODEL_FILES["data/model.bin"]).hexdigest())
    return findings(session, "paths.any_directory_name_is_downloaded_or_rejected", store=store)


@passing("paths.any_directory_name_is_downloaded_or_rejected")
def test_names_with_the_real_initializer(session: LocalSession) -> list[Finding]:
    return findings(session, "paths.any_directory_name_is_downloaded_or_rejected")


# empty_files_are_downloaded


@failing("paths.empty_files_are_downloaded", because="omits code/__init__.py, because it is empty")
def test_an_initializer_that_skips_what_is_empty(session: LocalSession) -> list[Finding]:
    return findings(session, "paths.empty_files_are_downloaded", store=without_empty_files(session.client("store")))


@passing("paths.empty_files_are_downloaded")
def test_an_initializer_that_skips_nothing(session: LocalSession) -> list[Finding]:
    return findings(session, "paths.empty_files_are_downloaded")


# wrong_directory_level_is_rejected


@failing("paths.wrong_directory_level_is_rejected", because="one level too high, runs:/")
def test_a_run_with_mlmodel_at_its_root_too(session: LocalSession) -> list[Finding]:
    trainer = session.client("trainer")
    model = trainer.log_model(estimator="logistic-regression", register_as="example-two-levels")
    stray = {"run_id": model.run_id, "text": "flavors: {}\n", "artifact_file": "MLmodel"}
    trainer.call("client", method="log_text", arguments=stray)
    return findings(session, "paths.wrong_directory_level_is_rejected", handover=handed_over(session, model))


@failing("paths.wrong_directory_level_is_rejected", because="without the right directory")
def test_a_server_that_lists_no_artifacts(session: LocalSession) -> list[Finding]:
    tracking = Instead(session.client("tracking"), list_artifacts=lambda run_id, path="": [])
    return findings(session, "paths.wrong_directory_level_is_rejected", tracking=tracking)


@passing("paths.wrong_directory_level_is_rejected")
def test_wrong_levels_of_the_handover(session: LocalSession) -> list[Finding]:
    return findings(session, "paths.wrong_directory_level_is_rejected")
