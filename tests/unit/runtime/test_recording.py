"""The recording of what a part receives: whole as far as it goes, bounded, and never in the way."""

from pathlib import Path

import pytest

from blueengine.errors import DecodeError
from blueengine.runtime import recording as runtime
from blueengine.runtime.recording import Recording
from blueengine.transport.blobs import BlobFolder, recorded_blob, recorded_ref, start_ref
from blueengine.wire import codec, recording
from blueengine.wire.envelope import Meta

KEY = ("session-1", 2, "n1")


class Recorded:
    """A recording and what is said of its end."""

    def __init__(self, folder: Path, *, blobs: bool = True) -> None:
        self.blobs = BlobFolder(folder)
        self.cut: list[str] = []
        self.recording = Recording(self.blobs if blobs else None, KEY, self.cut.append)

    def take(
        self, payload: bytes = b"1", *, meta: bytes = b"", blob: str = "", size: int = 1
    ) -> None:
        self.recording.take("In", "", payload, meta, blob, size)

    def entries(self) -> list[recording.Received | recording.Cut]:
        with self.blobs.existing(recorded_ref(*KEY)).open("rb") as lines:
            return list(recording.read(lines))


def test_each_message_is_there_at_once_as_it_came(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    meta = Meta(content_type="image/png", name="a.png")
    recorded.take(b"\xff\x00", meta=codec.encode(meta), size=2)
    [entry] = recorded.entries()
    assert isinstance(entry, recording.Received)
    assert (entry.channel, entry.payload, entry.meta, entry.size) == ("In", b"\xff\x00", meta, 2)
    recorded.recording.close()


def test_a_large_payload_gets_a_further_name_and_outlives_the_first(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    ref = start_ref(KEY[0], 0)
    recorded.blobs.write(ref, [b"large"])
    recorded.take(b"", blob=ref, size=5)
    recorded.blobs.remove(ref)
    [entry] = recorded.entries()
    assert isinstance(entry, recording.Received)
    assert entry.blob == 0
    assert recorded.blobs.existing(recorded_blob(*KEY, 0)).read_bytes() == b"large"
    recorded.recording.close()


def test_it_is_bounded_and_says_where_it_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "LARGEST", 2 << 20)
    recorded = Recorded(tmp_path)
    for _ in range(4):
        recorded.take(size=1 << 20)
    assert recorded.cut == ["it is longer than 2 MiB"]
    *messages, last = recorded.entries()
    assert len(messages) == 2
    assert last == recording.Cut("it is longer than 2 MiB")


def test_trouble_with_the_store_ends_the_recording_only(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    recorded.take(b"", blob="sessions/session-1/gone", size=1 << 20)
    recorded.take()
    [why] = recorded.cut
    assert "is gone" in why
    nowhere = Recorded(tmp_path, blobs=False)
    nowhere.take()
    assert nowhere.cut == ["BLOB_DIR is not set for this engine"]


def test_a_line_that_was_not_written_to_its_end_is_left_out() -> None:
    whole = recording.line(recording.Received("In", "n0", 1, 1, b"x"))
    assert list(recording.read([whole, whole[:-5]])) == [recording.Received("In", "n0", 1, 1, b"x")]


def test_what_is_no_recording_is_refused() -> None:
    with pytest.raises(DecodeError, match="no line of a recording"):
        list(recording.read([b'{"some": "json"}\n']))
