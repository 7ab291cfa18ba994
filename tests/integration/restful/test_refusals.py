"""Bad input is refused with the right code, every fault named, and never a 500."""

import asyncio
from typing import Any

import pytest

from tests.integration.restful.conftest import API, Gateway, an_echo

JSON = {"Content-Type": "application/json"}


async def send(gateway: Gateway, content: bytes, **headers: str) -> Any:
    return await gateway.client.post(
        f"{API}/process-workflow", content=content, headers={**JSON, **headers}
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"rank": NaN}',
        b'{"rank": Infinity}',
        b'{"engines": [], "rank": 1,}',
        b'{"labels": {"a": "\xff"}}',
        b'{"labels": {"a": "\\ud800"}}',
        b'{"rank": 1, "rank": 2}',
        b'{"labels": {"a:b": "x\\"y", "a:b": "\\\\"}}',
        b'{"labels": ' + b"[" * 400 + b"]" * 400 + b"}",
        b"[" * 5000 + b"]" * 5000,
    ],
)
async def test_what_is_no_strict_json_is_400(gateway: Gateway, content: bytes) -> None:
    answer = await send(gateway, content)
    assert answer.status_code == 400, answer.text
    assert answer.json()["status"] == "error"
    assert answer.json()["data"]["errors"][0]["type"] == "malformed"


async def test_colons_and_escapes_in_strings_are_no_duplicates(gateway: Gateway) -> None:
    labels = {"a": 'x":"y\\', "b": '\\":', "c:d": "\u2028:"}
    answer = await gateway.post("/process-single-engine", an_echo(labels=labels))
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("content", [b"[]", b"1", b'"x"', b"null"])
async def test_a_body_that_is_no_object_is_422(gateway: Gateway, content: bytes) -> None:
    assert (await send(gateway, content)).status_code == 422


async def test_shapes_are_checked_all_at_once(gateway: Gateway) -> None:
    body = {
        "dataChannels": [{"type": 5}],
        "engines": [{"id": "a", "inputs": [{"name": "x", "linkto": "y"}]}],
        "rank": "1",
        "waitTimeSecond": -1,
        "colour": "red",
    }
    answer = await gateway.post("/process-workflow", body)
    assert answer.status_code == 422
    assert {(e["loc"], e["type"]) for e in answer.json()["data"]["errors"]} == {
        ("/dataChannels/0/name", "missing"),
        ("/dataChannels/0/type", "string-type"),
        ("/engines/0/inputs/0/linkto", "extra-forbidden"),
        ("/rank", "int-type"),
        ("/waitTimeSecond", "greater-than-equal"),
        ("/colour", "extra-forbidden"),
    }


async def test_meanings_are_checked_all_at_once(gateway: Gateway) -> None:
    body = {
        "dataChannels": [{"name": "A"}, {"name": "B", "type": "File"}],
        "engines": [
            {
                "id": "a",
                "inputs": [{"name": "x", "linkTo": "A"}],
                "outputs": [{"name": "y", "linkTo": "A"}],
            }
        ],
        "startData": [
            {"channelName": "Gone", "payload": 1},
            {"channelName": "B", "payload": {"base64": "???"}},
            {"channelName": "B", "payload": {"fileId": "nothing"}},
            {"channelName": "B", "payload": {"url": "http://127.0.0.1/x"}},
        ],
        "webhooks": [
            {"callbackUrl": "http://example.com", "callbackHeader": {"Host": "x", "A": "b\n"}},
            {"callbackUrl": "http://[::ffff:10.0.0.1]/", "statusTypes": [""]},
            {"callbackUrl": "gopher://example.com"},
        ],
        "interactive": True,
        "retry": {"maxAttempts": 2},
    }
    answer = await gateway.post("/process-workflow", body)
    assert answer.status_code == 422
    assert [(e["loc"], e["type"]) for e in answer.json()["data"]["errors"]] == [
        ("/engines", "cycle"),
        ("/startData/0/channelName", "unknown-channel"),
        ("/startData/1/payload/base64", "bad-payload"),
        ("/startData/2/payload/fileId", "unknown-file"),
        ("/startData/3/payload/url", "bad-url"),
        ("/retry/maxAttempts", "interactive-retry"),
        ("/webhooks/0/callbackHeader/Host", "bad-header"),
        ("/webhooks/0/callbackHeader/A", "bad-header"),
        ("/webhooks/1/callbackUrl", "forbidden-address"),
        ("/webhooks/1/statusTypes/0", "bad-type"),
        ("/webhooks/2/callbackUrl", "bad-url"),
    ]
    assert (await gateway.get("/sessions")).json()["data"]["sessions"] == []


async def test_a_list_of_faults_without_end_is_cut(gateway: Gateway) -> None:
    ports = [{"name": "p", "type": f"T{n}"} for n in range(400)]
    answer = await gateway.post("/process-workflow", {"engines": [{"id": "a", "inputs": ports}]})
    errors = answer.json()["data"]["errors"]
    assert len(errors) == 201
    assert errors[-1]["type"] == "more"


async def test_another_media_type_is_415(gateway: Gateway) -> None:
    answer = await send(gateway, b"{}", **{"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert answer.json()["data"]["errors"][0]["loc"] == "/header/Content-Type"


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.x+json"])
async def test_json_by_another_name_is_taken(gateway: Gateway, kind: str) -> None:
    assert (await send(gateway, b"{}", **{"Content-Type": kind})).status_code == 422


async def test_a_body_that_is_too_large_is_413(gateway: Gateway) -> None:
    answer = await send(gateway, b"[" + b"1," * (1 << 20) + b"1]")
    assert answer.status_code == 413


async def test_a_body_that_does_not_say_its_size_is_still_bounded(gateway: Gateway) -> None:
    async def pieces() -> Any:
        for _ in range(40):
            yield b" " * (1 << 16)

    answer = await gateway.client.post(f"{API}/process-workflow", content=pieces(), headers=JSON)
    assert answer.status_code == 413


@pytest.mark.parametrize("key", ["a b", "x" * 256, "\x7f"])
async def test_an_idempotency_key_is_one_visible_word(gateway: Gateway, key: str) -> None:
    answer = await gateway.client.post(
        f"{API}/process-single-engine",
        json=an_echo(),
        headers=[(b"Idempotency-Key", key.encode())],
    )
    assert answer.status_code in {400, 422}  # the HTTP parser takes no control characters at all


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/sessions", {"status": "done"}),
        ("/sessions", {"limit": "0"}),
        ("/sessions", {"limit": "x"}),
        ("/sessions", {"cursor": "-1"}),
        ("/sessions", {"label": "nothing"}),
        ("/process-workflow/session-process-workflow-0-1-x", {"waitTimeSecond": "nan"}),
        ("/process-workflow/session-process-workflow-0-1-x", {"waitTimeSecond": "-1"}),
    ],
)
async def test_a_wrong_parameter_is_422(
    gateway: Gateway, path: str, params: dict[str, str]
) -> None:
    answer = await gateway.get(path, **params)
    assert answer.status_code == 422
    assert answer.json()["data"]["errors"][0]["loc"].startswith("/query/")


async def test_a_wrong_dry_run_is_422(gateway: Gateway) -> None:
    answer = await gateway.post("/process-workflow?dryRun=maybe", {"engines": [{"id": "a"}]})
    assert answer.status_code == 422


async def test_unknown_routes_and_methods_are_answered_in_the_envelope(gateway: Gateway) -> None:
    for path in ("/nothing", "/sessions/", "/process-workflow/"):  # there are no redirects
        gone = await gateway.get(path)
        assert (gone.status_code, gone.json()["status"]) == (404, "error")
    wrong = await gateway.client.put(f"{API}/process-workflow", json={})
    assert (wrong.status_code, wrong.json()["status"]) == (405, "error")


async def test_a_client_that_goes_while_it_sends_does_no_harm(gateway: Gateway) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /api/v1/process-workflow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b'Content-Length: 1000\r\n\r\n{"engines"'
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await gateway.client.get("/healthz")).status_code == 200
