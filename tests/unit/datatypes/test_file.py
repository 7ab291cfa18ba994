"""File: a path on both ends."""

from pathlib import Path
from typing import Any

import pytest

from blueengine import File
from blueengine.datatypes import base
from blueengine.errors import DataTypeError
from tests.unit.datatypes.helpers import decode, there_and_back


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    file = tmp_path / "page one.pdf"
    file.write_bytes(b"%PDF")
    return file


@pytest.mark.parametrize("how", [str, Path, File])
def test_a_file_may_be_given_as_path_or_text(pdf: Path, how: Any) -> None:
    back = there_and_back("File", how(pdf))
    assert (back.path, back.name, back.content_type) == (pdf, "page one.pdf", "application/pdf")
    assert back.size == 4


def test_it_is_never_read(pdf: Path) -> None:
    encoded = base.get("File").encode(pdf, stored=True)
    assert (encoded.payload, encoded.file) == (b"", pdf)


def test_name_type_and_facts_travel_with_it(pdf: Path) -> None:
    back = there_and_back("File", File(pdf, name="a.bin", content_type="x/y", meta={"page": 1}))
    assert (back.name, back.content_type, back.meta) == ("a.bin", "x/y", {"page": 1})


def test_an_unknown_ending_is_just_bytes(tmp_path: Path) -> None:
    assert File(tmp_path / "a.qqq").content_type == "application/octet-stream"


def test_an_inline_file_is_written_to_the_scratch_folder(pdf: Path, tmp_path: Path) -> None:
    meta = base.get("File").encode(pdf, stored=False).meta
    assert meta
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    files = [decode("File", text, meta, scratch=scratch) for text in (b"one", b"two")]
    assert [file.path.read_bytes() for file in files] == [b"one", b"two"]
    assert [file.name for file in files] == ["page one.pdf"] * 2
    assert {file.path.suffix for file in files} == {".pdf"}
    assert {file.path.parent for file in files} == {scratch}


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "", "..", "x" * 300])
def test_a_name_cannot_lead_out_of_the_scratch_folder(tmp_path: Path, name: str) -> None:
    back = decode("File", b"x", base.Meta(name=name), scratch=tmp_path)
    assert back.path.parent == tmp_path
    assert back.path.read_bytes() == b"x"


@pytest.mark.parametrize("value", [b"x", 7, None, ["a"]])
def test_what_is_no_file_is_refused(value: Any) -> None:
    with pytest.raises(DataTypeError, match="takes File or a path, not"):
        base.get("File").encode(value, stored=False)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for wrong in (tmp_path / "gone.pdf", tmp_path):
        with pytest.raises(DataTypeError, match="is no file"):
            base.get("File").encode(wrong, stored=False)
