"""How large the images of a PDF become; read once by each worker process."""

from collections.abc import Mapping
from dataclasses import dataclass

from blueengine import Fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of ``pdf_to_image``, each also an environment variable."""

    scale: float = 2.0
    """``PDF_SCALE``: pixels a point (1/72 inch); 2 is 144 dpi, enough to read 8 point print."""
    max_pixels: int = 40_000_000
    """``PDF_MAX_PIXELS``: the largest page in pixels; 40 million are 120 MB of memory a page."""


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings; a wrong one is a `Fail` that names the variable and its range."""
    default = Settings()
    return Settings(
        scale=_number(environment, "PDF_SCALE", default.scale, least=0.1, most=20),
        max_pixels=int(
            _number(environment, "PDF_MAX_PIXELS", default.max_pixels, least=1e4, most=1e9)
        ),
    )


def _number(
    environment: Mapping[str, str], name: str, default: float, *, least: float, most: float
) -> float:
    text = environment.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    # NaN is in no range, so this refuses it too.
    if not least <= value <= most:
        raise Fail(
            f"{name} is {text!r}: set it to a number from {least:,.10g} to {most:,.10g}, "
            "or leave it out"
        )
    return value
