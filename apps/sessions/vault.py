"""Keeps what is secret unreadable in Redis: headers of webhooks, and what signs them.

Without a key it is kept as it is. With keys it is sealed by the first of them (Fernet: AES and an
HMAC), and opened by any; what was kept before there was a key can still be read.
"""

import re
from typing import TYPE_CHECKING, Final, Self

from blueengine.errors import BlueEngineError, SettingsError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

VARIABLE: Final = "BLUEENGINE_SECRET_KEY"
"""Environment variable, or file among the mounted secrets: one key, or several with commas between."""
_MARK: Final = b"sealed:"


class SealedError(BlueEngineError):
    """Something is sealed with a key that is not here."""

    code = "sealed"
    retriable = True


class Vault:
    """Seals and opens."""

    def __init__(self, keys: "tuple[Fernet, ...]" = ()) -> None:
        """Seal with the first key, open with any; without one nothing is sealed."""
        self._keys = keys

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return a vault with the keys in a text.

        Raises:
            SettingsError: One of them is none; the text is not shown.
        """
        words = [word for word in re.split(r"[,\s]+", text) if word]
        if not words:
            return cls()
        from cryptography.fernet import Fernet  # noqa: PLC0415 - for those who use it

        keys = []
        for number, word in enumerate(words, 1):
            try:
                keys.append(Fernet(word))
            except ValueError:
                raise SettingsError(
                    f"{VARIABLE}: key {number} is not 32 bytes in URL-safe base64; make one with: python3"
                    ' -c "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"'
                ) from None
        return cls(tuple(keys))

    def seal(self, value: bytes) -> bytes:
        """Return the value as it is kept."""
        return _MARK + self._keys[0].encrypt(value) if self._keys else value

    def open(self, kept: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            SealedError: By a key that is not here.
        """
        return self._open(kept)[0]

    def is_outdated(self, kept: bytes) -> bool:
        """Say whether it should be sealed anew: it is not, or not by the first key.

        Raises:
            SealedError: It cannot be opened.
        """
        return bool(self._keys) and self._open(kept)[1] != 0

    def _open(self, kept: bytes) -> tuple[bytes, int]:
        """Return the value, and which key it was sealed with (-1: none)."""
        if not kept.startswith(_MARK):
            return kept, -1
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - for those who use it

        for number, key in enumerate(self._keys):
            try:
                return key.decrypt(kept.removeprefix(_MARK)), number
            except InvalidToken:
                continue
        raise SealedError(
            f"a secret of webhooks is sealed with a key that is not here: give this process the "
            f"{VARIABLE} of the others"
        )


PLAIN: Final = Vault()
"""Seals nothing."""
