"""How results and times look to a client."""

import orjson
import pytest

from apps.restful.api import render
from apps.restful.api.problems import STATUS, answer
from apps.restful.api.times import when
from apps.restful.service import errors
from apps.restful.service.answer import Answer, Queue
from apps.sessions import results
from blueengine.errors import BlueEngineError
from blueengine.wire import codec
from blueengine.wire.envelope import Meta, Stored
from blueengine.wire.report import Fault


def shown(item: Stored) -> object:
    return orjson.loads(orjson.dumps(results.result("s", "C", 3, item)))


def test_json_is_inline_and_untouched() -> None:
    assert shown(Stored("JSON", b'{"a":[1,2.50]}')) == {"a": [1, 2.5]}


def test_text_is_a_string() -> None:
    assert shown(Stored("Text", b"gr\xc3\xbcn\xff")) == "grün�"


@pytest.mark.parametrize("kind", ["Bytes", "Image", "File", "Video"])
def test_binary_is_a_url(kind: str) -> None:
    meta = codec.encode(Meta(content_type="x/y", name="n", facts={"page": 1}))
    assert shown(Stored(kind, b"abc", meta)) == {
        "url": "/api/v1/sessions/s/results/C/3/blob",
        "contentType": "x/y",
        "size": 3,
        "meta": {"page": 1, "name": "n"},
    }


def test_large_json_is_a_url_too() -> None:
    view = shown(Stored("JSON", b"", b"", "ref", 99))
    assert isinstance(view, dict)
    assert (view["contentType"], view["size"]) == ("application/json", 99)


def test_counts_are_there_only_while_pending() -> None:
    pending = Answer(session="s", status="pending", queue=Queue(0, 1, 2))
    assert render.process(pending) == {
        "status": "pending",
        "current_position": 0,
        "total_pending": 1,
        "total_queuing": 2,
    }
    assert render.process(Answer(session="s", status="queuing")) == {"status": "queuing"}


def test_only_a_failed_session_has_an_error() -> None:
    fault = Fault(code="canceled", message="a client asked for it")
    canceled = Answer(session="s", status="canceled", fault=fault)
    assert "error" not in render.process(canceled)
    assert "error" in render.process(Answer(session="s", status="failed", fault=fault))


def test_times_are_iso_8601() -> None:
    assert when(0) is None
    assert when(1_700_000_000_123_456) == "2023-11-14T22:13:20.123Z"


@pytest.mark.parametrize("kind", STATUS)
def test_each_error_has_its_status_and_the_one_shape(kind: type[BlueEngineError]) -> None:
    error = kind.because("why", loc="/x") if issubclass(kind, errors.RefusedError) else kind("why")
    response = answer(error)
    assert response.status_code == STATUS[kind]
    body = orjson.loads(bytes(response.body))
    loc = "/x" if issubclass(kind, errors.RefusedError) else ""
    assert body == {
        "status": "error",
        "message": "why",
        "data": {"errors": [{"loc": loc, "msg": "why", "type": kind.code}]},
    }
    retried = kind.retriable
    assert ("retry-after" in response.headers) == retried


def test_an_error_nobody_expected_says_nothing_of_itself() -> None:
    response = answer(BlueEngineError("the password is hunter2"))
    assert response.status_code == 500
    assert b"hunter2" not in bytes(response.body)
