"""What goes wrong is said clearly, ends the session once, and frees what it held."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from blueengine.client import AsyncClient, ConflictError, InvalidError, Outcome
from blueengine.client.answers import Fault
from tests.kit.wait import until

pytestmark = [pytest.mark.timeout(60), pytest.mark.asyncio(loop_scope="function")]


def body(what: str) -> dict[str, Any]:
    return {
        "engineId": "trouble",
        "inputs": {"Control": {"type": "JSON", "payload": {"do": what}}},
        "resultChannels": ["Result"],
    }


async def do(client: AsyncClient, what: str, **more: Any) -> Outcome:
    """Have the engine do something; the outcome."""
    session = await client.submit(body(what), **more)
    return await session.wait()


async def fault_of(client: AsyncClient, what: str, **more: Any) -> Fault:
    """Have the engine fail; the fault. Its slot is free and the next session works."""
    outcome = await do(client, what, **more)
    assert outcome.status == "failed"
    assert outcome.process.error
    await until(free(client), 10)
    following = await do(client, "nothing")
    assert following.status == "finished"
    assert following.results == {"Result": ["done"]}
    return outcome.process.error


def free(client: AsyncClient) -> Callable[[], Awaitable[bool]]:
    async def is_free() -> bool:
        return (await client.engine("trouble")).used_slots == 0

    return is_free


async def test_an_exception_is_shown_with_the_authors_frames_only(client: AsyncClient) -> None:
    fault = await fault_of(client, "raise")
    assert fault.message == "ValueError: no such thing"
    assert 'raise ValueError("no such thing")' in fault.traceback
    assert "blueengine/runtime" not in fault.traceback


async def test_fail_shows_just_the_authors_words(client: AsyncClient) -> None:
    fault = await fault_of(client, "fail")
    assert fault.message == "the picture is upside down; turn it"
    assert fault.traceback == ""


async def test_an_output_nobody_declared_is_named_with_those_that_are(client: AsyncClient) -> None:
    fault = await fault_of(client, "wrong")
    assert "'Elsewhere'" in fault.message
    assert "Result" in fault.message


async def test_a_worker_that_exits_fails_its_session_with_the_exit_code(
    client: AsyncClient,
) -> None:
    fault = await fault_of(client, "exit")
    assert "exited with code 3" in fault.message


async def test_a_function_that_hangs_is_ended_at_the_time_limit(client: AsyncClient) -> None:
    fault = await fault_of(client, "hang", time_limit=0.5)
    assert "timeoutSecond" in fault.message


async def test_a_stopped_session_is_canceled_and_its_slot_is_free(client: AsyncClient) -> None:
    session = await client.submit(body("wait"))

    async def is_processing() -> bool:
        return (await session.outcome()).status == "processing"

    await until(is_processing, 20)
    await session.stop()
    assert (await session.wait()).status == "canceled"
    await until(free(client), 10)
    with pytest.raises(ConflictError):
        await session.stop()


def workflow(*engines: dict[str, Any], channels: dict[str, str]) -> dict[str, Any]:
    return {
        "dataChannels": [{"name": name, "type": kind} for name, kind in channels.items()],
        "engines": list(engines),
        "startData": [],
    }


async def test_all_faults_of_a_workflow_are_named_at_once(client: AsyncClient) -> None:
    await do(client, "nothing")  # the engine's spec is known from its attendance
    first = {
        "id": "trouble",
        "name": "a",
        "inputs": [{"name": "Control", "type": "JSON", "linkTo": "back"}],
        "outputs": [{"name": "Result", "type": "JSON", "linkTo": "forth"}],
    }
    second = {
        "id": "other",
        "name": "b",
        "inputs": [
            {"name": "Control", "type": "JSON", "linkTo": "forth"},
            {"name": "Words", "type": "Text", "linkTo": "forth"},
            {"name": "More", "type": "JSON", "linkTo": "nowhere"},
        ],
        "outputs": [{"name": "Status", "type": "JSON", "linkTo": "back"}],
    }
    wrong = workflow(first, second, channels={"forth": "JSON", "back": "JSON"})
    with pytest.raises(InvalidError) as refused:
        await client.request("POST", "/api/v1/process-workflow", json=wrong)
    assert refused.value.status == 422
    text = str(refused.value.faults)
    assert "nowhere" in text
    assert "Text" in text
    assert "a" in text
    assert "cycle" in text
    assert all(fault.loc.startswith("/") for fault in refused.value.faults)
