"""What an author's function takes, checked when it is declared: its arguments, and their annotations.

An annotation is optional. Where there is one, it must agree with engine.yml: ``context`` is a
``Context``, and an input annotated as a TypedDict has channels that the step reads, with values of
their types.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Final

from blueengine.datatypes import names
from blueengine.errors import DeclarationError

_CONTEXT: Final = "blueengine.runtime.context.Context"
_VALUES: Final = {
    names.TEXT: ("builtins.str",),
    names.BYTES: ("builtins.bytes",),
    names.IMAGE: ("blueengine.datatypes.image.Image",),
    names.FILE: ("blueengine.datatypes.file.File",),
    names.VIDEO: (
        "blueengine.datatypes.video.Video",
        "blueengine.datatypes.video.Frame",
    ),
}
"""Type of a channel -> what its reader gets, by full name: nothing is imported for this."""


def check(step: str, what: str, function: Callable[..., Any], *arguments: str) -> None:
    """See that a function can be called with so many arguments, the first a Context.

    Raises:
        DeclarationError: It cannot.
    """
    bound = check_arguments(step, what, function, *arguments)
    first = next(iter(bound), None)
    hint = _hints(function).get(first or "", Any)
    if _is_class(hint) and all(_name(base) != _CONTEXT for base in hint.__mro__):
        raise DeclarationError(
            f"step {step!r}: {what} takes the Context first, but {first!r} is annotated as"
            f" {hint.__name__}"
        )


def check_arguments(
    step: str, what: str, function: Callable[..., Any], *arguments: str
) -> list[str]:
    """See that a function can be called with so many arguments; the names it has for them.

    Raises:
        DeclarationError: It cannot.
    """
    if not callable(function):
        raise DeclarationError(f"step {step!r}: {what} is {function!r}; pass a function")
    try:
        return list(inspect.signature(function).bind(*arguments).arguments)
    except TypeError:
        raise DeclarationError(
            f"step {step!r}: {what} must take ({', '.join(arguments)})"
        ) from None
    except ValueError:
        return []  # written in C, and does not tell


def check_inputs(step: str, function: Callable[..., Any], reads: Mapping[str, str]) -> None:
    """See that a TypedDict that annotates the input agrees with what the step reads.

    Args:
        step: Its name.
        function: Its process_func.
        reads: Input channel -> type, of those the step reads.

    Raises:
        DeclarationError: A channel is not read, or its value is of another type.
    """
    try:
        names_of = list(inspect.signature(function).parameters)
    except ValueError:
        return
    hint = _hints(function).get(names_of[1], Any) if len(names_of) > 1 else Any
    if not typing.is_typeddict(hint):
        return
    for channel, value in typing.get_type_hints(hint).items():
        if channel not in reads:
            raise DeclarationError(
                f"step {step!r}: {hint.__name__} has {channel!r}, which is not among its"
                f" input_channels ({', '.join(sorted(reads)) or 'none'})"
            )
        wanted = _VALUES.get(reads[channel])
        given = [each for each in _classes(value) if each is not type(None)]
        if wanted and given and not any(_name(each) in wanted for each in given):
            shown = " or ".join(full.rpartition(".")[2] for full in wanted)
            raise DeclarationError(
                f"step {step!r}: channel {channel!r} is of type {reads[channel]} in engine.yml, so"
                f" its value is {shown}, but {hint.__name__} says {given[0].__name__}"
            )


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    if not inspect.isfunction(function):
        return {}
    try:
        return typing.get_type_hints(function)
    except Exception:  # noqa: BLE001 - a name known to type checkers only says nothing here
        return {}


def _classes(hint: Any) -> list[type]:
    origin = typing.get_origin(hint)
    if origin in {typing.Required, typing.NotRequired}:
        return _classes(typing.get_args(hint)[0])
    if origin in {typing.Union, UnionType}:
        return [each for part in typing.get_args(hint) for each in _classes(part)]
    return [hint] if _is_class(hint) else []


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _is_class(hint: Any) -> bool:
    return inspect.isclass(hint) and hint not in {Any, object}
