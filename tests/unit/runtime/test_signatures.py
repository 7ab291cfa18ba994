"""Annotations of an author's functions are held against engine.yml when a step is declared."""

from typing import Any, NotRequired, TypedDict

import pytest

from blueengine import BlueEngine, Context, File, Image
from blueengine.errors import DeclarationError

CONFIG = {
    "ENGINE": {"ID": "e"},
    "INPUTS": {"NAMES": ["Page", "Name", "Facts"], "TYPES": ["Image", "Text", "JSON"]},
}


class Right(TypedDict):
    Page: Image
    Name: NotRequired[str | None]
    Facts: dict[str, int]


class OtherType(TypedDict):
    Page: File


class OtherName(TypedDict):
    Pgae: Image


def declare(function: Any) -> None:
    engine = BlueEngine(CONFIG)
    engine.add_step("look", process_func=function, input_channels=["Page", "Name", "Facts"])


def test_what_agrees_is_taken() -> None:
    def typed(context: Context, inputs: Right) -> None: ...
    def bare(context, inputs): ...  # type: ignore[no-untyped-def]
    def loose(context: Any, inputs: dict[str, Any]) -> None: ...
    def unknown(context: "Nobody", inputs: "Nothing") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    for function in (typed, bare, loose, unknown, lambda _, __: None):
        declare(function)


def test_a_value_of_another_type_is_named_with_both() -> None:
    def look(context: Context, inputs: OtherType) -> None: ...

    words = "channel 'Page' is of type Image in engine.yml, so its value is Image, but OtherType says File"
    with pytest.raises(DeclarationError, match=words):
        declare(look)


def test_a_channel_that_the_step_does_not_read_is_named() -> None:
    def look(context: Context, inputs: OtherName) -> None: ...

    words = r"OtherName has 'Pgae', which is not among its input_channels \(Facts, Name, Page\)"
    with pytest.raises(DeclarationError, match=words):
        declare(look)


def test_arguments_the_wrong_way_round_are_found() -> None:
    def look(inputs: dict, context: Context) -> None: ...  # type: ignore[type-arg]

    with pytest.raises(
        DeclarationError, match="takes the Context first, but 'inputs' is annotated as"
    ):
        declare(look)
