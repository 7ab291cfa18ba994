"""Log lines: ids in them, secrets not."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from blueengine.kit import logs


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def begin(form: Literal["auto", "json", "text"] = "auto") -> io.StringIO:
    out = io.StringIO()
    logs.configure("ocr", "INFO", stream=out, form=form)
    return out


def line(out: io.StringIO) -> dict[str, Any]:
    (only,) = out.getvalue().splitlines()
    found: dict[str, Any] = json.loads(only)
    return found


def test_a_line_is_json_where_nobody_watches() -> None:
    out = begin()
    logging.getLogger("a.b").warning("read page %d", 3)
    found = line(out)
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "warning",
        "service": "ocr",
        "logger": "a.b",
        "message": "read page 3",
    }


def test_ids_travel_in_the_context_and_further_fields_by_extra() -> None:
    out = begin()
    with logs.bound(session="s1"), logs.bound(engine="ocr"):
        logging.getLogger().info("in", extra={"page": 2})
    assert line(out).items() >= {"session": "s1", "engine": "ocr", "page": 2}.items()


def test_ids_are_gone_outside() -> None:
    out = begin()
    with logs.bound(session="s1"):
        pass
    logging.getLogger().info("out")
    assert "session" not in line(out)


@pytest.mark.parametrize(
    "name", ["password", "redis_password", "Authorization", "api_key", "token"]
)
def test_fields_that_name_a_secret_are_masked(name: str) -> None:
    out = begin()
    logging.getLogger().info("x", extra={name: "hunter2"})
    assert line(out)[name] == "***"


def test_passwords_in_urls_are_masked_everywhere() -> None:
    out = begin()
    url = "redis://:hunter2@127.0.0.1:6379/0"
    try:
        int(url)
    except ValueError:
        logging.getLogger().exception("no %s", url, extra={"url": url})
    assert "hunter2" not in out.getvalue()
    assert line(out)["message"] == "no redis://***@127.0.0.1:6379/0"
    assert "ValueError" in line(out)["error"]


def test_what_is_no_json_is_shown_all_the_same() -> None:
    out = begin()
    logging.getLogger().info("x", extra={"thing": {1: object}})
    assert "object" in str(line(out)["thing"])


def test_text_is_for_people() -> None:
    out = begin("text")
    with logs.bound(session="s1"):
        logging.getLogger().error("no")
    assert out.getvalue().rstrip().endswith("error   ocr: no session=s1")


def test_lines_below_the_level_are_left_out_and_a_second_call_replaces_the_first() -> None:
    first, second = begin(), begin()
    logging.getLogger().debug("no")
    logging.getLogger().info("yes")
    assert not first.getvalue()
    assert line(second)["message"] == "yes"
