"""Where blobs are: one line for each fault, and secrets that stay secret."""

from pathlib import Path

import pytest

from blueengine.errors import SettingsError
from blueengine.settings.blobs import BucketSettings
from blueengine.settings.system import SystemSettings
from blueengine.transport.blob_stores import store_of
from blueengine.transport.blobs import BlobFolder

KEYS = {"AWS_ACCESS_KEY_ID": "the-key", "AWS_SECRET_ACCESS_KEY": "the-secret"}


def bucket(**environment: str) -> BucketSettings | None:
    settings = SystemSettings.load(environment, config_variable="BLUEEDGE_CFG")
    return settings.bucket(environment)


def test_a_url_names_bucket_and_prefix_and_the_environment_has_the_keys() -> None:
    found = bucket(
        BLOB_URL="s3://some.bucket/a/b/",
        BLOB_ENDPOINT="https://store:9000",
        BLOB_REGION="x",
        **KEYS,
    )
    assert found
    assert (found.bucket, found.prefix, found.region) == ("some.bucket", "a/b", "x")
    assert (found.access_key_id, found.secret_access_key) == ("the-key", "the-secret")
    assert str(found) == "s3://some.bucket/a/b at https://store:9000"
    for secret in KEYS.values():
        assert secret not in f"{found} {found!r}"


def test_keys_may_be_mounted_as_files(tmp_path: Path) -> None:
    for name, value in KEYS.items():
        (tmp_path / name).write_text(value + "\n")
    found = bucket(BLOB_URL="s3://bucket", SECRETS_DIR=str(tmp_path))
    assert found
    assert (found.access_key_id, found.secret_access_key) == ("the-key", "the-secret")


def test_without_keys_the_library_finds_those_of_the_machine(tmp_path: Path) -> None:
    found = bucket(BLOB_URL="s3://bucket", SECRETS_DIR=str(tmp_path))
    assert found
    assert found.access_key_id == ""


@pytest.mark.parametrize(
    ("environment", "fault"),
    [
        ({"BLOB_URL": "http://x/y"}, "BLOB_URL must look like s3://bucket"),
        ({"BLOB_URL": "s3://user:secret@bucket"}, "BLOB_URL must look like s3://bucket"),
        ({"BLOB_URL": "s3://"}, "BLOB_URL must look like s3://bucket"),
        (
            {"BLOB_URL": "s3://bucket", "BLOB_ENDPOINT": "store:9000"},
            "BLOB_ENDPOINT must look like",
        ),
        ({"BLOB_URL": "s3://bucket", "BLOB_ENDPOINT": "http://u:secret@h"}, "holds credentials"),
        ({"BLOB_URL": "s3://bucket", "BLOB_DIR": "/x"}, "two blob stores"),
        ({"BLOB_URL": "s3://bucket", "AWS_ACCESS_KEY_ID": "k"}, "must be given together"),
    ],
)
def test_what_is_wrong_is_one_line_at_the_start(environment: dict[str, str], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault) as caught:
        bucket(**environment)
    assert "\n" not in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_without_a_url_it_is_a_folder_or_nothing(tmp_path: Path) -> None:
    folder = store_of(SystemSettings(blob_dir=str(tmp_path)), {}, patience=1)
    assert isinstance(folder, BlobFolder)
    assert store_of(SystemSettings(), {}, patience=1) is None


def test_a_file_of_authorities_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = SystemSettings(blob_url="s3://bucket", blob_ca_file=str(tmp_path / "ca.pem"))
    with pytest.raises(SettingsError, match=r"BLOB_CA_FILE .*ca\.pem cannot be read"):
        store_of(settings, KEYS, patience=1)
