"""Python values as start data."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from blueengine import File, Image
from blueengine.client import Many, Upload, Workflow, WorkflowError
from tests.unit.client.platform import client, no, ok, outcome

pytestmark = pytest.mark.looptime


class Sent:
    """A platform that keeps what it was sent."""

    def __init__(self) -> None:
        self.uploads: list[httpx.Request] = []
        self.bodies: list[Any] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/files":
            self.uploads.append(request)
            return ok({"fileId": f"f{len(self.uploads)}", "size": len(request.content)}, 201)
        if request.url.path.startswith("/api/v1/engines/"):
            name = request.url.path.rpartition("/")[2]
            found = {"id": name, "inputs": {"Image": "Image"}}
            return ok(found) if name == "ocr" else no(404, "never seen")
        self.bodies.append(json.loads(request.content))
        return ok(outcome("pending"), 202)


def a_workflow(kind: str) -> Workflow:
    wf = Workflow()
    return wf.input("In", wf.engine("e"), "In", type=kind)


async def start_data(kind: str, value: object, sent: Sent | None = None) -> list[Any]:
    sent = sent or Sent()
    async with client(sent) as api:
        await api.submit(a_workflow(kind), {"In": value})
    return [entry["payload"] for entry in sent.bodies[0]["startData"]]


async def test_json_is_json_with_numbers_of_numpy() -> None:
    value = {"a": np.float32(0.5), "b": np.arange(3), 1: None}
    assert await start_data("JSON", value) == [{"a": 0.5, "b": [0, 1, 2], "1": None}]
    assert await start_data("JSON", [1, 2]) == [[1, 2]]
    assert await start_data("Text", "words") == ["words"]


async def test_many_are_several_messages() -> None:
    assert await start_data("JSON", Many([1, [2], 3])) == [1, [2], 3]


async def test_small_bytes_travel_in_the_request() -> None:
    assert await start_data("Bytes", b"abc") == [{"base64": base64.b64encode(b"abc").decode()}]


async def test_large_bytes_are_uploaded() -> None:
    sent = Sent()
    assert await start_data("Bytes", b"x" * 100_000, sent) == [{"fileId": "f1"}]
    assert sent.uploads[0].headers["content-length"] == "100000"
    assert len(sent.uploads[0].content) == 100_000


@pytest.mark.parametrize("form", [str, Path, File])
async def test_files_are_uploaded_with_name_and_type(tmp_path: Path, form: Any) -> None:
    path = tmp_path / "a b.pdf"
    path.write_bytes(b"%PDF")
    sent = Sent()
    assert await start_data("File", form(path), sent) == [
        {"fileId": "f1", "contentType": "application/pdf", "name": "a b.pdf"}
    ]
    assert sent.uploads[0].url.params["name"] == "a b.pdf"
    assert sent.uploads[0].headers["content-type"] == "application/pdf"
    assert sent.uploads[0].content == b"%PDF"


async def test_images_are_sent_as_png() -> None:
    array = np.zeros((2, 3, 3), np.uint8)
    for value in (array, Image(array)):
        (payload,) = await start_data("Image", value)
        assert payload["contentType"] == "image/png"
        assert base64.b64decode(payload["base64"]).startswith(b"\x89PNG")


async def test_what_was_uploaded_before_is_named() -> None:
    assert await start_data("File", Upload(file_id="f9")) == [{"fileId": "f9"}]
    assert await start_data("File", {"fileId": "f9", "name": "x"}) == [
        {"fileId": "f9", "name": "x"}
    ]


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("JSON", object(), "no JSON"),
        ("JSON", Path("a"), "takes a value, not a file"),
        ("Text", 3, "takes a string, not a number"),
        ("File", Path("/nowhere/a.pdf"), "there is no file /nowhere/a.pdf"),
        ("File", 3, "takes a path, bytes or an upload, not int"),
        ("Image", b"no image", "no PNG, JPEG or WebP"),
    ],
)
async def test_what_does_not_fit_is_said_before_anything_is_sent(
    kind: str, value: object, said: str
) -> None:
    sent = Sent()
    with pytest.raises(WorkflowError, match=said):
        await start_data(kind, value, sent)
    assert not sent.bodies
    assert not sent.uploads


async def test_an_unknown_channel_is_named_with_those_there_are() -> None:
    async with client(Sent()) as api:
        with pytest.raises(WorkflowError, match=r"no channel 'No'; those that take start data: In"):
            await api.submit(a_workflow("JSON"), {"No": 1})


async def test_a_workflow_with_a_fault_is_not_sent_nor_its_files(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF")
    wf = a_workflow("File")
    wf.engine("e")
    sent = Sent()
    async with client(sent) as api:
        with pytest.raises(WorkflowError, match="two engines are named 'e'"):
            await api.submit(wf, {"In": path})
    assert not sent.uploads


async def test_inputs_stand_in_place_of_the_workflows_own() -> None:
    wf = a_workflow("JSON").start("In", "own")
    sent = Sent()
    async with client(sent) as api:
        await api.submit(
            wf, {"In": "given"}, labels={"a": "b"}, rank=3, time_limit=9, max_attempts=2
        )
        await api.submit(wf)
    given, own = sent.bodies
    assert [entry["payload"] for entry in given["startData"]] == ["given"]
    assert [entry["payload"] for entry in own["startData"]] == ["own"]
    assert given["labels"] == {"a": "b"}
    assert given["rank"] == 3
    assert given["timeoutSecond"] == 9
    assert given["retry"] == {"maxAttempts": 2}
    assert "labels" not in own


async def test_a_single_engines_types_come_from_the_platform_or_the_value() -> None:
    sent = Sent()
    async with client(sent) as api:
        await api.submit_engine("ocr", {"Image": np.zeros((2, 2), np.uint8)}, results=["Text"])
        await api.submit_engine("new", {"Data": b"x", "Control": {"a": 1}})
        await api.submit_engine("new", {"Data": b"x"}, types={"Data": "File"})
    kinds = [{n: port["type"] for n, port in body["inputs"].items()} for body in sent.bodies]
    assert kinds == [{"Image": "Image"}, {"Data": "Bytes", "Control": "JSON"}, {"Data": "File"}]
    assert sent.bodies[0]["resultChannels"] == ["Text"]
    assert sent.bodies[1]["inputs"]["Control"]["payload"] == {"a": 1}
