# ruff: noqa: INP001 - a script, beside which there is no package
"""Write docs/openapi.json, the REST API as the gateway serves it: ``python scripts/write_openapi.py``.

The published file is held by a test, so that a change of the API is seen in the commit that makes it.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI

from apps.restful.api.app import build
from apps.restful.service.metrics import Metrics

FILE = Path(__file__).parents[1] / "docs" / "openapi.json"


def app() -> FastAPI:
    """Return the application with its routes; no part of a gateway is needed to make it."""
    parts: Any = SimpleNamespace(metrics=Metrics())
    return build(parts)


def document() -> dict[str, Any]:
    """Return the document."""
    return app().openapi()


def text() -> str:
    """Return the document as it is published."""
    return json.dumps(document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
    sys.stdout.write(f"written to {FILE}\n")
