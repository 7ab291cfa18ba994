"""Key names: each one once, and the Lua text spells them as Python does."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueengine import ledger
from blueengine.wire import names


@pytest.mark.parametrize("name", names.TEMPLATES)
def test_a_key_in_lua_is_the_key_in_python(name: str) -> None:
    template = names.TEMPLATES[name]
    arguments = ["alpha", "beta"][: template.count("{}")]
    spelled = ledger.render(f"return K.{name}({', '.join(arguments)})")
    assert lua_text(spelled, {"alpha": "A", "beta": "B"}) == template.format(
        *("AB"[: len(arguments)])
    )


def lua_text(code: str, values: dict[str, str]) -> str:
    """Evaluate ``return ('text' .. name .. …)``."""
    parts = re.fullmatch(r"return \((.*)\)", code)
    assert parts, code
    out = ""
    for part in parts[1].split(" .. "):
        out += part[1:-1] if part[0] in "'\"" else values[part]
    return out


def test_names_do_not_collide() -> None:
    # with ids that hold none of the separators, which ids may not
    filled = [t.format(*["x"] * t.count("{}")) for t in names.TEMPLATES.values()]
    assert len(set(filled)) == len(filled)


def test_the_contract_names_the_two_scaling_keys() -> None:
    assert names.pending_list("ocr") == "__engine_pending_list_ocr__"
    assert names.demand("ocr") == "__engine_demand_ocr__"


def test_makers_and_constants_come_from_the_table() -> None:
    made = {name for name in names.TEMPLATES if callable(getattr(names, name, None))}
    assert made == {name for name, template in names.TEMPLATES.items() if "{}" in template}
    for name in names.TEMPLATES.keys() - made:
        if (constant := getattr(names, name.upper(), None)) is not None:
            assert constant == names.TEMPLATES[name]


def test_an_unknown_name_or_a_wrong_number_of_arguments_is_an_error() -> None:
    with pytest.raises(KeyError):
        ledger.render("return K.nonsense(a)")
    with pytest.raises(ValueError, match="argument"):
        ledger.render("return K.session(a, b)")


@given(instance=st.text(min_size=1, max_size=60))
def test_a_topic_says_whose_inbox_it_is(instance: str) -> None:
    topic = names.inbox_topic("be-1", instance)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", topic)
    assert names.instance_of("be-1", topic) == instance


@pytest.mark.parametrize(
    "topic", ["other-in-x", "be-1", "be-1-out-x", "be-1-in-_zz", "be-1-in-_ff"]
)
def test_other_topics_are_nobodys_inbox(topic: str) -> None:
    assert names.instance_of("be-1", topic) is None
