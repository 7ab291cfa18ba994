"""Submitting a session, waiting for it, reading it."""

import asyncio

import pytest

from blueengine.wire.envelope import Stored
from tests.integration.restful.conftest import Gateway, an_echo, running
from tests.integration.restful.fake_engine import ECHO, FakeEngine
from tests.kit.servers import RealRedis
from tests.kit.wait import until

WORKFLOW = {
    "dataChannels": [
        {"name": "In", "type": "JSON"},
        {"name": "Out", "type": "JSON", "interested": True},
    ],
    "engines": [
        {
            "id": "echo",
            "inputs": [{"name": "Control", "type": "JSON", "linkTo": "In"}],
            "outputs": [{"name": "Result", "type": "JSON", "linkTo": "Out"}],
        }
    ],
    "startData": [{"channelName": "In", "payload": {"a": 1}}],
}


async def test_a_waiting_request_is_answered_with_the_results_when_the_session_ends(
    gateway: Gateway, engine: FakeEngine
) -> None:
    request = gateway.begin("/process-single-engine", an_echo(waitTimeSecond=10))
    part = await engine.accept()
    assert [feed.payload for feed in part.feeds] == [b'{"a":1}']
    await part.say({"n": 1}, {"n": 2})
    assert not request.done()
    await part.finish()
    answer = await request
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "success",
        "message": "",
        "data": {
            "sessionId": part.session,
            "process": {"status": "finished"},
            "results": {"Result": [{"n": 1}, {"n": 2}]},
        },
    }
    assert part.session.startswith("session-process-single-engine-0-")


async def test_a_workflow_runs(gateway: Gateway, engine: FakeEngine) -> None:
    request = gateway.begin("/process-workflow", {**WORKFLOW, "waitTimeSecond": 10})
    part = await engine.accept()
    await part.say("done", channel="Out")
    await part.finish()
    answer = await request
    assert answer.json()["data"]["results"] == {"Out": ["done"]}
    read = await gateway.get(f"/process-workflow/{part.session}")
    assert (read.status_code, read.json()) == (200, answer.json())


async def test_a_wait_that_is_over_is_answered_with_what_there_is(
    gateway: Gateway, engine: FakeEngine
) -> None:
    request = gateway.begin("/process-single-engine", an_echo(waitTimeSecond=0.3))
    part = await engine.accept()
    await part.say({"n": 1})
    answer = await request
    assert answer.status_code == 202
    assert answer.json()["data"]["process"] == {"status": "processing"}
    assert answer.json()["data"]["results"] == {"Result": [{"n": 1}]}


async def test_without_a_wait_the_answer_comes_at_once(
    gateway: Gateway, engine: FakeEngine
) -> None:
    answer = await gateway.post("/process-single-engine", an_echo())
    assert answer.status_code == 202
    assert answer.json()["data"]["process"]["status"] in {"queuing", "processing"}


async def test_a_session_that_waits_for_a_slot_says_its_place(gateway: Gateway) -> None:
    await gateway.post("/process-single-engine", an_echo())
    answer = await gateway.post("/process-single-engine", an_echo())
    assert answer.status_code == 202
    process = {"status": "pending", "current_position": 1, "total_pending": 2, "total_queuing": 0}
    assert answer.json()["data"]["process"] == process
    session = answer.json()["data"]["sessionId"]
    read = await gateway.get(f"/process-single-engine/{session}")
    assert read.json()["data"]["process"] == process


async def test_a_higher_rank_comes_first(gateway: Gateway) -> None:
    await gateway.submit()
    answer = await gateway.post("/process-single-engine", an_echo(rank=5))
    assert answer.json()["data"]["process"]["current_position"] == 0


async def test_a_failed_session_says_why(gateway: Gateway, engine: FakeEngine) -> None:
    request = gateway.begin("/process-single-engine", an_echo(waitTimeSecond=10))
    part = await engine.accept()
    await part.fail("no such page")
    answer = await request
    assert answer.status_code == 200
    body = answer.json()
    assert body["message"] == "the session failed: no such page"
    assert body["data"]["process"] == {
        "status": "failed",
        "error": {
            "code": "failed",
            "message": "no such page",
            "engine": "echo",
            "node": "echo",
            "traceback": "Traceback …",
        },
    }


async def test_a_read_waits_for_the_end_too(gateway: Gateway, engine: FakeEngine) -> None:
    session = await gateway.submit()
    part = await engine.accept()
    read = asyncio.ensure_future(
        gateway.get(f"/process-single-engine/{session}", waitTimeSecond=10)
    )
    await until(lambda: len(gateway.parts.pokes) == 1)
    await part.finish()
    assert (await read).json()["data"]["process"]["status"] == "finished"


async def test_a_read_of_an_ended_session_does_not_wait(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await gateway.submit()
    await (await engine.accept()).finish()
    async with asyncio.timeout(2):
        read = await gateway.get(f"/process-single-engine/{session}", waitTimeSecond=30)
    assert read.status_code == 200


async def test_only_the_channels_asked_for_are_returned(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await gateway.submit(resultChannels=["Words"])
    part = await engine.accept()
    await part.say(1)
    await part.output("Words", Stored("Text", b"gr\xc3\xbcn", size=5))
    await part.finish()
    read = await gateway.get(f"/process-single-engine/{session}", channel=["Words"])
    assert read.json()["data"]["results"] == {"Words": ["grün"]}
    read = await gateway.get(f"/process-single-engine/{session}")
    assert read.json()["data"]["results"] == {"Result": [1], "Words": ["grün"]}
    unknown = await gateway.get(f"/process-single-engine/{session}", channel=["Nothing"])
    assert unknown.status_code == 404


async def test_the_same_idempotency_key_and_body_give_the_same_session(gateway: Gateway) -> None:
    headers = {"Idempotency-Key": "order-7"}
    first = await gateway.post("/process-single-engine", an_echo(), headers=headers)
    again = await gateway.post(
        "/process-single-engine",
        dict(reversed(an_echo().items())),  # the same in other words
        headers=headers,
    )
    assert first.json() == again.json()
    other = await gateway.post("/process-single-engine", an_echo(rank=1), headers=headers)
    assert other.status_code == 409
    assert other.json()["data"]["errors"][0]["type"] == "idempotency-conflict"


async def test_a_repeated_request_waits_for_the_first_one_s_session(
    gateway: Gateway, engine: FakeEngine
) -> None:
    headers = {"Idempotency-Key": "order-8"}
    body = an_echo(waitTimeSecond=10)
    requests = [
        asyncio.ensure_future(gateway.post("/process-single-engine", body, headers=headers))
        for _ in range(3)
    ]
    part = await engine.accept()
    await until(lambda: len(gateway.parts.pokes) == 3)
    await part.finish()
    answers = [(await request).json() for request in requests]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["data"]["process"]["status"] == "finished"


async def test_two_gateways_each_hear_of_the_end(
    gateway: Gateway, engine: FakeEngine, redis_server: RealRedis
) -> None:
    async with running(gateway.parts.settings) as other:
        session = await gateway.submit()
        part = await engine.accept()
        reads = [
            asyncio.ensure_future(g.get(f"/process-single-engine/{session}", waitTimeSecond=10))
            for g in (gateway, other)
        ]
        await until(lambda: len(gateway.parts.pokes) == len(other.parts.pokes) == 1)
        await part.finish()
        for read in reads:
            assert (await read).status_code == 200


async def test_an_engine_that_changes_its_spec_is_checked_against_the_new_one(
    gateway: Gateway, engine: FakeEngine
) -> None:
    changed = {"Result": {"type": "Text", "interested": True}}
    refused = await gateway.post("/process-single-engine", an_echo(outputs=changed))
    assert refused.status_code == 422
    outputs = {"Result": "Text", "Status": "JSON"}
    spec = type(ECHO)(
        id="echo", name="Echo", concurrency=2, inputs={"Control": "JSON"}, outputs=outputs
    )
    await engine.attend(spec)
    accepted = await gateway.post("/process-single-engine", an_echo(outputs=changed))
    assert accepted.status_code == 202
    refused = await gateway.post("/process-single-engine", an_echo())
    assert refused.status_code == 422
    assert refused.json()["data"]["errors"][0] == {
        "loc": "/outputs/Result/type",
        "msg": "output 'Result' of engine 'echo' is of type Text, not JSON",
        "type": "differs-from-spec",
    }


async def test_a_gateway_that_is_stopped_answers_who_waits(
    gateway: Gateway, engine: FakeEngine
) -> None:
    request = gateway.begin("/process-single-engine", an_echo(waitTimeSecond=30))
    await engine.accept()
    await until(lambda: len(gateway.parts.pokes) == 1)
    gateway.stop()
    async with asyncio.timeout(5):
        answer = await request
    assert answer.status_code == 202


async def test_stored_start_data_is_a_result_from_the_beginning(gateway: Gateway) -> None:
    inputs = {"Control": {"type": "JSON", "payload": [1, 2], "interested": True}}
    answer = await gateway.post("/process-single-engine", an_echo(inputs=inputs))
    assert answer.json()["data"]["results"] == {"Control": [[1, 2]], "Result": []}
    session = answer.json()["data"]["sessionId"]
    read = await gateway.get(f"/process-single-engine/{session}")
    assert read.json()["data"]["results"] == {"Control": [[1, 2]], "Result": []}


async def test_a_dry_run_stores_nothing_and_says_what_is_missing(gateway: Gateway) -> None:
    answer = await gateway.post("/process-workflow?dryRun=true", WORKFLOW)
    assert answer.status_code == 200
    assert answer.json()["data"] == {
        "valid": True,
        "wouldBePlaced": False,
        "placement": {"policy": "spread", "near": "any"},
        "picks": [],
        "lacking": [
            {
                "engine": "echo",
                "wanted": 1,
                "free": 0,
                "instances": 0,
                "satisfiedBy": "engine 'echo' was never seen: start an instance of it",
            }
        ],
        "quota": None,
    }
    assert (await gateway.get("/sessions")).json()["data"]["sessions"] == []


async def test_a_dry_run_counts_free_slots(gateway: Gateway, engine: FakeEngine) -> None:
    answer = await gateway.post("/process-workflow?dryRun=true", WORKFLOW)
    assert answer.json()["data"]["wouldBePlaced"] is True
    three = [{"id": "echo", "name": f"e{n}"} for n in range(3)]
    answer = await gateway.post("/process-workflow?dryRun=true", {"engines": three})
    (lack,) = answer.json()["data"]["lacking"]
    assert (lack["wanted"], lack["free"]) == (3, 2)
    assert answer.json()["data"]["wouldBePlaced"] is False


async def test_a_dry_run_names_the_instances_a_session_would_get(
    gateway: Gateway, engine: FakeEngine
) -> None:
    body = {**WORKFLOW, "placement": {"policy": "pack", "near": "host"}}
    answer = (await gateway.post("/process-workflow?dryRun=true", body)).json()["data"]
    assert answer["placement"] == {"policy": "pack", "near": "host"}
    picks = [{k: pick[k] for k in ("engine", "instance", "host")} for pick in answer["picks"]]
    assert picks == [{"engine": "echo", "instance": engine.instance, "host": "here"}]
    session = (await gateway.post("/process-workflow", body)).json()["data"]["sessionId"]
    shown = (await gateway.get(f"/sessions/{session}")).json()["data"]
    assert shown["placement"] == answer["placement"]
    assert [part["instance"] for part in shown["subSessions"]] == [engine.instance]


@pytest.mark.parametrize("rule", [{"policy": "tight"}, {"near": "moon"}, {"policy": 1}, "pack"])
async def test_an_unknown_placement_is_422(gateway: Gateway, rule: object) -> None:
    answer = await gateway.post("/process-workflow", {**WORKFLOW, "placement": rule})
    assert answer.status_code == 422
    assert answer.json()["data"]["errors"][0]["loc"].startswith("/placement")


async def test_a_dry_run_names_faults_as_a_submit_does(gateway: Gateway) -> None:
    bad = {**WORKFLOW, "engines": []}
    answers = [await gateway.post(f"/process-workflow{q}", bad) for q in ("", "?dryRun=true")]
    assert answers[0].status_code == answers[1].status_code == 422
    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize("kind", ["process-workflow", "sessions"])
@pytest.mark.parametrize("session", ["session-process-workflow-0-1-x", "x", "a:r:b", "%00", "ä"])
async def test_an_unknown_session_is_404(gateway: Gateway, kind: str, session: str) -> None:
    answer = await gateway.get(f"/{kind}/{session}")
    assert answer.status_code == 404
    assert answer.json()["status"] == "error"


async def test_a_session_is_not_read_under_the_other_kind(gateway: Gateway) -> None:
    session = await gateway.submit()
    assert (await gateway.get(f"/process-workflow/{session}")).status_code == 404
