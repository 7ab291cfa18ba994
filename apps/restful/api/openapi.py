"""What FastAPI cannot know by itself of the OpenAPI document."""

from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from apps.restful.api.schemas import KeyRequest, SingleEngineRequest, TenantRequest, WorkflowRequest

WAIT_NOTE: Final = "Answer when the session ends or after this time, whichever is first."
_REF: Final = "#/components/schemas/{model}"
_READ: Final[tuple[type[BaseModel], ...]] = (
    KeyRequest,
    SingleEngineRequest,
    TenantRequest,
    WorkflowRequest,
)
"""Models of bodies that routes read by themselves."""


def in_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the part of a route's document for the JSON body it reads by itself."""
    extra = model.model_config.get("json_schema_extra")
    examples = extra.get("examples", []) if isinstance(extra, dict) else []
    content: dict[str, Any] = {"schema": {"$ref": _REF.format(model=model.__name__)}}
    if isinstance(examples, list) and examples:
        content["example"] = examples[0]
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def reads(model: type[BaseModel]) -> dict[str, Any]:
    """Return the part of a submitting route's document for its body and parameters."""
    document: dict[str, Any] = {
        **in_body(model),
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "The same key and body give the same session for 24 h.",
                "schema": {"type": "string", "maxLength": 255},
            }
        ],
    }
    if model is WorkflowRequest:
        document["parameters"].append(
            {
                "name": "dryRun",
                "in": "query",
                "required": False,
                "description": "Check only: nothing is stored.",
                "schema": {"type": "boolean", "default": False},
            }
        )
    return document


def install(app: FastAPI) -> None:
    """Have the app's document hold the models of the bodies that routes read by themselves."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            _, found = models_json_schema(
                [(model, "validation") for model in _READ], ref_template=_REF
            )
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(found.get("$defs", {}))
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI's documentation shows
