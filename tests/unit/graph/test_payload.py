"""Which JSON value fits which channel type."""

from typing import Any

import pytest

from blueengine.graph.payload import Inline, Misfit, Referred, fit


@pytest.mark.parametrize("value", [None, 1, "x", [1], {"a": {"b": None}}, True])
def test_json_is_any_value(value: Any) -> None:
    assert isinstance(fit("JSON", value), Inline)


def test_json_is_written_compactly() -> None:
    assert fit("JSON", {"a": [1, "ü"]}) == Inline('{"a":[1,"ü"]}'.encode())


def test_text_is_utf_8() -> None:
    assert fit("Text", "grün") == Inline("grün".encode())


@pytest.mark.parametrize("value", [None, 1, ["x"], {"base64": ""}])
def test_text_is_only_a_string(value: Any) -> None:
    with pytest.raises(Misfit, match="takes a string"):
        fit("Text", value)


@pytest.mark.parametrize("kind", ["Bytes", "Image", "File", "Video"])
@pytest.mark.parametrize("source", ["base64", "fileId", "url"])
def test_a_binary_message_has_one_source(kind: str, source: str) -> None:
    value = {source: "x", "contentType": "image/png", "name": "a.png"}
    wanted = Referred(source=source, value="x", content_type="image/png", name="a.png")
    assert fit(kind, value) == wanted


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("AAAA", "not a string"),
        (None, "not null"),
        ({}, "found none"),
        ({"base64": "", "url": ""}, "found base64 and url"),
        ({"base64": 1}, "base64 must be a string, not a number"),
        ({"base64": "", "contentType": None}, "contentType must be a string, not null"),
        ({"base64": "", "colour": "red"}, "'colour' is unknown"),
        ({"base64": "", "name": "a\nb"}, "printable"),
    ],
)
def test_a_wrong_binary_message_is_told_why(value: Any, says: str) -> None:
    with pytest.raises(Misfit, match=says):
        fit("Image", value)


def test_a_file_name_loses_its_path() -> None:
    payload = fit("File", {"base64": "", "name": "../../etc/passwd"})
    assert isinstance(payload, Referred)
    assert payload.name == "passwd"
