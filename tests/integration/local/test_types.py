"""Values of every type from a client through two engines and back, on the real platform."""

import base64
import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from blueengine import Video, VideoWriter
from blueengine.client import Client, Workflow
from tests.integration.local.platform_kit import Up, up

TYPES: Final = """
import struct
from blueengine import register_type
from blueengine.datatypes.base import Encoded

class Points:
    def encode(self, value, *, stored):
        return Encoded(b"".join(struct.pack("<ff", x, y) for x, y in value))

    def decode(self, message):
        return [list(point) for point in struct.iter_unpack("<ff", message.read())]

register_type("acme.Points", Points())
"""

MAKE: Final = (
    TYPES
    + """
from pathlib import Path
from blueengine import BlueEngine, File, Image, Video, VideoWriter

engine = BlueEngine()

def make(context, inputs):
    if "Doc" in inputs:
        doc = inputs["Doc"]
        lines = doc.path.read_bytes().splitlines()
        yield {"Lines": [doc.name, doc.content_type, doc.size, len(lines)]}
        copy = Path(context.client_id, "copy.bin")
        copy.write_bytes(doc.path.read_bytes()[::-1])
        yield {"Copy": File(copy, name="réversé.txt", content_type="text/plain", meta={"from": doc.name})}
        yield {"Points": [(1.5, 2), (3, -4)]}
    if "Clip" in inputs:
        with VideoWriter(Path(context.client_id, "out.mp4"), rate=10) as out:
            for frame in inputs["Clip"].frames(every=0.2):
                yield {"Frames": frame}
                out.write(frame)
                if frame.index == 0:
                    yield {"Page": Image(frame.array, {"at": frame.time})}
        yield {"Mp4": out.close()}

engine.add_step("make", process_func=make, input_channels=["Doc", "Clip"],
                output_channels=["Lines", "Copy", "Points", "Frames", "Page", "Mp4"])
engine.start()
"""
)

LOOK: Final = (
    TYPES
    + """
import hashlib
from blueengine import BlueEngine

engine = BlueEngine()

def look(context, inputs):
    [(channel, value)] = inputs.items()
    match channel:
        case "Points":
            said = value
        case "Copy":
            digest = hashlib.sha256(value.path.read_bytes()).hexdigest()
            said = [value.name, value.content_type, value.size, value.meta, digest]
        case "Page":
            said = [value.content_type, list(value.array.shape), value.meta, int(value.array.mean())]
        case "Frames":
            said = [round(value.time, 2), value.index, list(value.array.shape)]
        case "Mp4" | "Url":
            frames = list(value.frames())
            said = [value.name, value.content_type, len(frames), list(frames[-1].array.shape)]
    yield {"Seen": [channel, said]}

engine.add_step("look", process_func=look, output_channels=["Seen"],
                input_channels=["Points", "Copy", "Page", "Frames", "Mp4", "Url"])
engine.start()
"""
)

CONFIGS: Final = {
    "make": '''
ENGINE: {ID: make}
INPUTS: {NAMES: [Doc, Clip], TYPES: [file, VIDEO]}
OUTPUTS:
  NAMES: [Lines, Copy, Points, Frames, Page, Mp4]
  TYPES: [JSON, File, acme.Points, Video, Image, Video]
  OPTIONS: {Page: {FORMAT: jpeg, QUALITY: 90}}
''',
    "look": '''
ENGINE: {ID: look}
INPUTS: {NAMES: [Points, Copy, Page, Frames, Mp4, Url], TYPES: [acme.Points, File, Image, Video, Video, Video]}
OUTPUTS: {NAMES: [Seen], TYPES: [JSON]}
''',
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("types")
    for name, code in (("make", MAKE), ("look", LOOK)):
        (folder / name / "configs").mkdir(parents=True)
        (folder / name / "engine.py").write_text(code)
        (folder / name / "configs" / "engine.yml").write_text(CONFIGS[name])
    with VideoWriter(folder / "clip.mp4", rate=10) as out:
        for number in range(10):
            out.write(np.full((48, 64, 3), 20 * number, np.uint8))
    (folder / "doc.txt").write_bytes(b"a line\n" * 40_000)
    return folder


@pytest.fixture(scope="module")
def platform(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    engines = ",".join(["none", *(str(folder / name) for name in CONFIGS)])
    with up(tmp_path_factory.mktemp("platform") / "data", "--engines", engines) as running:
        yield running
        running.end()


@pytest.fixture
def served(folder: Path) -> Iterator[str]:
    """The URL of the clip, on a web server."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/clip.mp4"
        server.shutdown()
        thread.join()


@pytest.mark.timeout(150)  # two engines start from nothing, with numpy and PyAV in them
def test_every_type_passes_a_chain_and_comes_back(
    platform: Up, folder: Path, served: str, tmp_path: Path
) -> None:
    wf = Workflow()
    make, look = wf.engine("make"), wf.engine("look")
    wf.input("Doc", make, "Doc", type="File").input("Clip", make, "Clip", type="Video")
    wf.input("Url", look, "Url", type="Video")
    for port, kind in (
        ("Copy", "File"), ("Points", "acme.Points"), ("Frames", "Video"), ("Page", "Image"), ("Mp4", "Video"),
    ):  # fmt: skip
        make.link(port, look, type=kind)
    make.result("Lines").result("Copy", type="File").result("Page", type="Image")
    make.result("Mp4", type="Video")
    look.result("Seen")
    inputs: dict[str, Any] = {
        "Doc": folder / "doc.txt",
        "Clip": folder / "clip.mp4",
        "Url": {
            "base64": base64.b64encode(served.encode()).decode(),
            "contentType": "text/uri-list",
        },
    }
    with Client(platform.url) as client:
        outcome = client.submit(wf, inputs).wait(timeout=90)
        assert outcome.status == "finished", outcome
        results = outcome.results
        copy = client.download(results["Copy"][0], tmp_path / "copy")
        page = client.load(results["Page"][0])
        clip = client.download(results["Mp4"][0], tmp_path / "out.mp4")
    doc = (folder / "doc.txt").read_bytes()
    assert results["Lines"] == [["doc.txt", "text/plain", len(doc), 40_000]]
    assert copy.read_bytes() == doc[::-1]
    assert (results["Copy"][0].name, results["Copy"][0].content_type) == (
        "réversé.txt", "text/plain",
    )  # fmt: skip
    assert page.content_type == "image/jpeg"
    assert page.array.shape == (48, 64, 3)
    assert len(list(Video(clip).frames())) == 5

    seen: dict[str, list[Any]] = {}
    for channel, said in results["Seen"]:
        seen.setdefault(channel, []).append(said)
    assert seen["Points"] == [[[1.5, 2.0], [3.0, -4.0]]]
    digest = hashlib.sha256(doc[::-1]).hexdigest()
    assert seen["Copy"] == [["réversé.txt", "text/plain", len(doc), {"from": "doc.txt"}, digest]]
    [[kind, shape, meta, mean]] = seen["Page"]
    assert (kind, shape, meta) == ("image/jpeg", [48, 64, 3], {"at": 0.0})
    assert mean < 5
    assert seen["Frames"] == [[round(0.2 * n, 2), 2 * n, [48, 64, 3]] for n in range(5)]
    assert seen["Mp4"] == [["out.mp4", "video/mp4", 5, [48, 64, 3]]]
    assert seen["Url"] == [["", "text/uri-list", 10, [48, 64, 3]]]
