"""Secrets: from the environment or from mounted files, and never in a log."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from blueengine.errors import SettingsError
from blueengine.kit import logs

VARIABLE: Final = "SECRETS_DIR"
DEFAULT: Final = "/run/secrets"


def find(name: str, environment: Mapping[str, str], *, default: str | None = None) -> str:
    """Return the secret ``name``; from now on logs of this process show ``***`` in its place.

    Args:
        name: Of an environment variable, or of a file.
        environment: Looked at first; ``SECRETS_DIR`` in it names the folder of the files.
        default: What it is when it is nowhere; None: that is an error.

    Raises:
        SettingsError: It is neither in the environment nor among the files.
    """
    folder = Path(environment.get(VARIABLE) or DEFAULT)
    if not name or "/" in name or name.startswith("."):
        raise SettingsError(f"{name!r} cannot be the name of a secret")
    if name in environment:
        value = environment[name]
    else:
        try:
            value = (folder / name).read_text(encoding="utf-8").rstrip("\n")
        except OSError as exc:
            if default is not None and isinstance(exc, FileNotFoundError):
                return default
            raise SettingsError(
                f"there is no secret {name!r}: set the environment variable {name}, or mount a file"
                f" {folder / name} ({VARIABLE} names another folder)"
            ) from None
    logs.hide(value)
    return value
