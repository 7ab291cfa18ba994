"""Reading a workflow and its inputs from the command line."""

from pathlib import Path
from typing import Any

import pytest

from blueengine.cli import run_workflow
from blueengine.cli.output import UsageError
from blueengine.client import Workflow

BODY: dict[str, Any] = {
    "dataChannels": [
        {"name": "Input", "type": "JSON"},
        {"name": "Note", "type": "text"},
        {"name": "Document", "type": "File"},
    ],
    "engines": [{"id": "a", "name": "first"}, {"id": "b"}],
}
JOB = Workflow.from_dict(BODY)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Input=3", 3),
        ('Input={"name": "Ada"}', {"name": "Ada"}),
        ("Input=plain words", "plain words"),
        ("Input=a=b", "a=b"),
        ("Input=", ""),
        ("Note=3", "3"),
    ],
)
def test_values_are_json_or_plain_text(text: str, value: object) -> None:
    assert run_workflow.parse_input(text, JOB)[1] == value


def test_a_file_is_uploaded_where_the_channel_carries_files(tmp_path: Path) -> None:
    path = tmp_path / "scan.json"
    path.write_text('{"page": 1}')
    assert run_workflow.parse_input(f"Document=@{path}", JOB) == ("Document", path)
    assert run_workflow.parse_input(f"Input=@{path}", JOB) == ("Input", {"page": 1})
    assert run_workflow.parse_input(f"Note=@{path}", JOB) == ("Note", '{"page": 1}')


@pytest.mark.parametrize("text", ["Input", "Other=1", "=1"])
def test_a_wrong_input_names_the_channels_there_are(text: str) -> None:
    with pytest.raises(UsageError, match="channels of this workflow: Input, Note, Document"):
        run_workflow.parse_input(text, JOB)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="there is no file /nowhere"):
        run_workflow.parse_input("Document=@/nowhere", JOB)


def test_a_workflow_must_have_engines(tmp_path: Path) -> None:
    path = tmp_path / "w.yml"
    path.write_text("dataChannels: []\n")
    with pytest.raises(UsageError, match="has no list `engines`"):
        run_workflow.read_workflow(path)


@pytest.mark.parametrize("text", [None, "- 1\n", "a: [\n"])
def test_what_is_no_yaml_mapping_is_wrong_usage(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "w.yml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=r"w\.yml"):
        run_workflow.read_workflow(path)


def test_a_channel_that_is_given_twice_gets_both_messages_in_order() -> None:
    given = run_workflow.collect([("A", 1), ("B", 2), ("A", 3)])
    assert {name: many.values for name, many in given.items()} == {"A": (1, 3), "B": (2,)}
