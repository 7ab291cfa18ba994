"""Frames between parent and worker: whole again, however the stream was cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueengine.kit.framing import Splitter
from blueengine.runtime import frames

TO_WORKER = [
    frames.Begin(1, "s", "n", "e", {"a": "b"}, "/tmp/x", "", ("Out",)),
    frames.Work(1, [frames.Item("Control", [b"\x00\xff"], b"m"), frames.Item("B", [b""], b"", "/f")]),
    frames.Work(1, [frames.Item("Control", [b"1", b"", b"3"])]),
    frames.Resume(7),
    frames.Leave(2**40),
    frames.Quit(),
]  # fmt: skip
FROM_WORKER = [
    frames.Inited("", ""),
    frames.Began(1, "no", "", ""),
    frames.Out(1, "Out", [bytes(range(256)), b"x"], b"", "", 257),
    frames.Say(1, "finish", b'{"type":"finish"}'),
    frames.Done(1, 2**50, 3, "ValueError: é", "code", "trace"),
    frames.Done(1, 2**50, 3, calls=64),
    frames.Left(1, "", ""),
]


def body(frame: frames.ToWorker | frames.FromWorker) -> bytes:
    [whole] = Splitter().feed(frames.pack([frame]))  # type: ignore[list-item]
    return whole


@pytest.mark.parametrize("frame", TO_WORKER, ids=lambda f: type(f).__name__)
def test_a_frame_to_the_worker_comes_back_as_it_was(frame: frames.ToWorker) -> None:
    assert frames.to_worker(body(frame)) == [frame]


@pytest.mark.parametrize("frame", FROM_WORKER, ids=lambda f: type(f).__name__)
def test_a_frame_from_the_worker_comes_back_as_it_was(frame: frames.FromWorker) -> None:
    assert frames.from_worker(body(frame)) == [frame]


@given(
    payloads=st.lists(st.binary(max_size=300), max_size=10),
    cuts=st.lists(st.integers(0, 3000), max_size=20),
)
def test_any_cuts_give_the_same_frames(payloads: list[bytes], cuts: list[int]) -> None:
    sent = [frames.Out(n, "p", [payload], b"", "", 0) for n, payload in enumerate(payloads)]
    # one to three in a pack
    packs = [sent[at : at + 1 + at % 3] for at in range(len(sent))]
    stream = b"".join(map(frames.pack, packs))
    at = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    splitter = Splitter()
    got = [
        frame
        for start, stop in pairwise(at)
        for body in splitter.feed(stream[start:stop])
        for frame in frames.from_worker(body)
    ]
    assert got == [frame for pack in packs for frame in pack]


def test_single_bytes_give_the_same_frames() -> None:
    stream = b"".join(frames.pack([frame]) for frame in FROM_WORKER)
    splitter = Splitter()
    got = [b for at in range(len(stream)) for b in splitter.feed(stream[at : at + 1])]
    assert [frame for b in got for frame in frames.from_worker(b)] == FROM_WORKER
