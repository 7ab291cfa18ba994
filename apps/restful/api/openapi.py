"""What FastAPI cannot know by itself of the OpenAPI document."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from apps.restful.api.problems import WORDS
from apps.restful.api.rules import Rule
from apps.restful.api.schemas import KeyRequest, SingleEngineRequest, TenantRequest, WorkflowRequest

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
        content["examples"] = {f"{at}": {"value": value} for at, value in enumerate(examples, 1)}
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


def _links(*operations: str, **parameters: str) -> dict[str, Any]:
    return {name: {"operationId": name, "parameters": parameters} for name in operations}


_SESSION: Final = "$response.body#/data/sessionId"


def _session_links(read: str, written: str) -> dict[str, Any]:
    """Return the links of a submitted session; the channels are those of the example."""
    result = {"session_id": _SESSION, "channel": "Result"}
    return {
        **_links("read_session", "read_logs", "stop_session", read, session_id=_SESSION),
        **_links("read_results", **result),
        **_links("read_blob", **result, index="0"),
        **_links("push_message", "end_channel", session_id=_SESSION, **{"path.name": written}),
    }


_FILE: Final = _links(
    "download", "read_upload", "resume_upload", file_id="$response.body#/data/fileId"
)
_LINKS: Final[Mapping[str, Mapping[str, Any]]] = {
    "process_single_engine": _session_links("read_single_engine", "Control"),
    "process_workflow": _session_links("read_workflow", "Input"),
    "upload": _FILE,
    "resume_upload": _FILE,
    "list_sessions": _links("read_session", session_id="$response.body#/data/sessions/0/sessionId"),
    "create_key": _links("read_key", "revoke_key", key_id="$response.body#/data/id"),
    "limit_tenant": _links("read_tenant", tenant="$response.body#/data/tenant"),
    "list_deliveries": _links(
        "read_delivery", "redeliver", delivery_id="$response.body#/data/deliveries/0/deliveryId"
    ),
}
"""Operation -> what may be asked with what its answer holds."""

_REFUSAL: Final = {"application/json": {"schema": {"$ref": _REF.format(model="ErrorEnvelope")}}}
_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def install(app: FastAPI, rules: Mapping[tuple[str, str], Rule]) -> None:
    """Have the app's document hold what FastAPI cannot know: bodies, refusals, keys, links."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            _, found = models_json_schema(
                [(model, "validation") for model in _READ], ref_template=_REF
            )
            components = document.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            schemas.update(found.get("$defs", {}))
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)  # FastAPI's own shape of a 422, which nobody gets
            components["securitySchemes"] = _SCHEMES
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    _complete(operation, rules[method.upper(), path])
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI's documentation shows


def _complete(operation: dict[str, Any], rule: Rule) -> None:
    """Add what every route can answer, and who may use it."""
    answers = operation["responses"]
    if rule.scope is not None:
        operation["security"] = [{}, *({name: []} for name in _SCHEMES)]
        operation["x-scope"] = str(rule.scope)
        answers |= {str(code): answers.get(str(code), {}) for code in (401, 403, 429, 503)}
        for code in [code for code in answers if code >= "400"]:
            answers[code] = {"description": WORDS[int(code)], "content": _REFUSAL}
    found = _LINKS.get(operation["operationId"])
    for good in ("200", "201", "202"):
        if found and good in answers:
            answers[good]["links"] = found
