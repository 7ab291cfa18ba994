"""What the recogniser may use; read once by each worker process."""

from collections.abc import Mapping
from dataclasses import dataclass

from blueengine import Fail

_MOST_THREADS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of ``ocr``, each also an environment variable."""

    threads: int = 1
    """``OCR_THREADS``: threads of one worker; 1 lets detection and recognition share two cores."""


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings; a wrong one is a `Fail` that names the variable and its range."""
    text = environment.get("OCR_THREADS", "").strip()
    if not text:
        return Settings()
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST_THREADS):
        raise Fail(
            f"OCR_THREADS is {text!r}: set it to a whole number from 1 to {_MOST_THREADS}, "
            "or leave it out"
        )
    return Settings(threads=int(text))
