"""What the detector may use; read once by each worker process."""

from collections.abc import Mapping
from dataclasses import dataclass

from blueengine import Fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of ``detect_text``, each also an environment variable."""

    threads: int = 1
    """``OCR_THREADS``: threads of one worker; 1 lets detection and recognition share two cores."""
    max_side: int = 1280
    """``DETECT_MAX_SIDE``: larger images are searched at this size in pixels (boxes are given in
    the pixels of the image all the same). Time grows with its square; print is still found well
    at 1280, where an A4 page has 110 dpi."""


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings; a wrong one is a `Fail` that names the variable and its range."""
    default = Settings()
    return Settings(
        threads=_integer(environment, "OCR_THREADS", default.threads, least=1, most=256),
        max_side=_integer(environment, "DETECT_MAX_SIDE", default.max_side, least=320, most=4000),
    )


def _integer(
    environment: Mapping[str, str], name: str, default: int, *, least: int, most: int
) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise Fail(
            f"{name} is {text!r}: set it to a whole number from {least} to {most}, or leave it out"
        )
    return int(text)
