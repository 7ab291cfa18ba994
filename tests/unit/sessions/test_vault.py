"""Secrets at rest: sealed by the newest key, opened by any, plain where there is none."""

import base64
from pathlib import Path

import pytest

from apps.management.settings import ManagementSettings
from apps.restful.settings import RestfulSettings
from apps.sessions.vault import PLAIN, SealedError, Vault
from blueengine.errors import SettingsError

OLD, NEW, OTHER = (base64.urlsafe_b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))


def test_without_a_key_all_is_kept_as_it_is() -> None:
    assert PLAIN.seal(b"whsec_x") == b"whsec_x"
    assert PLAIN.open(b"whsec_x") == b"whsec_x"
    assert not PLAIN.is_outdated(b"whsec_x")


def test_what_is_sealed_is_not_to_be_read_and_comes_back() -> None:
    vault = Vault.parse(NEW)
    kept = vault.seal(b"Bearer secret")
    assert b"secret" not in kept
    assert b" " not in kept, "it stands in lists of words"
    assert vault.open(kept) == b"Bearer secret"
    assert vault.seal(b"Bearer secret") != kept


def test_keys_are_changed_without_a_gap() -> None:
    plain, by_old = b"a", Vault.parse(OLD).seal(b"b")
    vault = Vault.parse(f"{NEW}, {OLD}\n")
    assert [vault.open(kept) for kept in (plain, by_old)] == [b"a", b"b"]
    assert vault.is_outdated(plain)
    assert vault.is_outdated(by_old)
    anew = vault.seal(vault.open(by_old))
    assert not vault.is_outdated(anew)
    assert Vault.parse(NEW).open(anew) == b"b"


@pytest.mark.parametrize("keys", ["", OTHER])
def test_a_key_that_is_not_here_is_said_in_so_many_words(keys: str) -> None:
    with pytest.raises(SealedError, match="BLUEENGINE_SECRET_KEY"):
        Vault.parse(keys).open(Vault.parse(NEW).seal(b"x"))


def test_what_was_changed_is_not_opened() -> None:
    kept = bytearray(Vault.parse(NEW).seal(b"x"))
    kept[-5] ^= 1
    with pytest.raises(SealedError):
        Vault.parse(NEW).open(bytes(kept))


@pytest.mark.parametrize("wrong", ["short", NEW[:-4], f"{NEW},sesame"])
def test_a_key_that_is_none_is_a_wrong_setting_and_not_shown(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"BLUEENGINE_SECRET_KEY: key \d") as caught:
        Vault.parse(wrong)
    assert wrong.rsplit(",", maxsplit=1)[-1] not in str(caught.value)


@pytest.mark.parametrize("settings", [RestfulSettings, ManagementSettings])
def test_it_comes_from_the_environment_or_a_mounted_file(
    settings: type[RestfulSettings | ManagementSettings], tmp_path: Path
) -> None:
    folder = str(tmp_path)
    assert settings.load({"SECRETS_DIR": folder}).secret_key == ""
    found = settings.load({"BLUEENGINE_SECRET_KEY": NEW})
    assert found.secret_key == NEW
    assert NEW not in repr(found)
    (tmp_path / "BLUEENGINE_SECRET_KEY").write_text(OLD + "\n")
    assert settings.load({"SECRETS_DIR": folder}).secret_key == OLD
