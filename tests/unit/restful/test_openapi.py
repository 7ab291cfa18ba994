"""The OpenAPI document: complete, true to itself, and published as it is."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from apps.restful.api.rules import RULES
from scripts import write_openapi

DOCUMENT = write_openapi.document()
OPERATIONS = {
    (method.upper(), path): operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}


def names(what: Any) -> str:
    return " ".join(what) if isinstance(what, tuple) else str(what)


def validator(schema: dict[str, Any]) -> Any:
    return jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def media(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield everything of an operation that has a schema and may have examples."""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"body {kind}", content
    for code, answer in operation["responses"].items():
        for kind, content in answer.get("content", {}).items():
            yield f"{code} {kind}", content
    for parameter in operation.get("parameters", ()):
        yield parameter["name"], parameter


def examples(content: dict[str, Any]) -> Iterator[Any]:
    if "example" in content:
        yield content["example"]
    for named in content.get("examples", {}).values():
        yield named["value"]


EXAMPLES = [
    pytest.param(content["schema"], example, id=f"{names(key)} {where}")
    for key, operation in OPERATIONS.items()
    for where, content in media(operation)
    for example in examples(content)
    if "schema" in content
] + [
    pytest.param({"$ref": f"#/components/schemas/{name}"}, example, id=name)
    for name, schema in DOCUMENT["components"]["schemas"].items()
    for example in schema.get("examples", ())
]


@pytest.mark.parametrize(("schema", "example"), EXAMPLES)
def test_an_example_is_what_its_schema_says(schema: dict[str, Any], example: Any) -> None:
    validator(schema).validate(example)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("key", OPERATIONS, ids=names)
def test_an_operation_says_what_it_does_and_every_refusal(key: tuple[str, str]) -> None:
    operation = OPERATIONS[key]
    assert operation["summary"]
    assert operation["description"]
    expected = {"401", "403", "429", "503"} if RULES[key].scope is not None else set()
    assert expected <= set(operation["responses"])
    for code, answer in operation["responses"].items():
        assert answer["description"]
        if int(code) >= 400 and key[1].startswith("/api/"):
            ref = answer["content"]["application/json"]["schema"]["$ref"]
            assert ref == "#/components/schemas/ErrorEnvelope", code
    assert ("security" in operation) == bool(expected)


@pytest.mark.parametrize("key", OPERATIONS, ids=names)
def test_a_link_leads_to_an_operation_with_those_parameters(key: tuple[str, str]) -> None:
    by_id = {operation["operationId"]: operation for operation in OPERATIONS.values()}
    for answer in OPERATIONS[key]["responses"].values():
        for link in answer.get("links", {}).values():
            target = by_id[link["operationId"]]
            has = {parameter["name"] for parameter in target["parameters"]}
            assert {name.removeprefix("path.") for name in link["parameters"]} <= has


def test_the_published_document_is_this_one() -> None:
    assert write_openapi.FILE.read_text() == write_openapi.text(), "run: make openapi"
