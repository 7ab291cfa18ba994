"""Lists, details, stopping, paging through results."""

import pytest

from tests.integration.restful.conftest import Gateway, an_echo
from tests.integration.restful.fake_engine import FakeEngine


async def test_the_detail_of_an_ended_session_tells_all(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await gateway.submit(labels={"team": "a"}, rank=3, retry={"maxAttempts": 2})
    part = await engine.accept()
    await part.notice("progress", b'{"done":1,"total":2}')
    await part.say(1)
    await part.finish()
    data = (await gateway.get(f"/sessions/{session}")).json()["data"]
    assert (data["status"], data["rank"], data["labels"]) == ("finished", 3, {"team": "a"})
    assert (data["attempt"], data["maxAttempts"], data["pending"]) == (1, 2, None)
    assert data["dag"]["engines"] == [
        {
            "id": "echo",
            "name": "echo",
            "inputs": [{"name": "Control", "type": "JSON", "linkTo": "Control"}],
            "outputs": [{"name": "Result", "type": "JSON", "linkTo": "Result"}],
        }
    ]
    (sub,) = data["subSessions"]
    assert sub["progress"] == {"done": 1, "total": 2}
    assert (sub["instance"], sub["status"]) == ("echo-instance", "finished")
    assert (sub["messagesIn"], sub["bytesOut"], sub["busyMs"]) == (1, 9, 1.5)
    steps = [step["status"] for step in data["timeline"]]
    assert steps == ["pending", "queuing", "processing", "finished"]
    after = [step["afterMs"] for step in data["timeline"]]
    assert after == sorted(after)
    durations = data["durations"]
    assert all(value is not None and value >= 0 for value in durations.values())
    parts = durations["queuedMs"] + durations["readyMs"] + durations["runMs"]
    assert parts == pytest.approx(durations["totalMs"])


async def test_the_detail_of_a_failed_session_says_where(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await gateway.submit()
    await (await engine.accept()).fail("no such page")
    data = (await gateway.get(f"/sessions/{session}")).json()["data"]
    assert data["error"]["message"] == "no such page"
    assert data["subSessions"][0]["error"]["traceback"] == "Traceback …"


async def test_a_pending_session_says_what_it_waits_for(
    gateway: Gateway, engine: FakeEngine
) -> None:
    for _ in range(2):
        await gateway.submit()
    session = await gateway.submit()
    pending = (await gateway.get(f"/sessions/{session}")).json()["data"]["pending"]
    assert pending == {
        "position": 0,
        "totalPending": 1,
        "totalQueuing": 2,
        "parkedOn": "echo",
        "lacking": [
            {
                "engine": "echo",
                "wanted": 1,
                "free": 0,
                "instances": 1,
                "satisfiedBy": "engine 'echo' needs one more slot: "
                "a session must end, or another instance start",
            }
        ],
        "quota": None,
    }


async def test_sessions_are_listed_newest_first_page_by_page(gateway: Gateway) -> None:
    made = [await gateway.submit() for _ in range(7)]
    seen: list[str] = []
    cursor, pages = "", 0
    while cursor is not None:
        data = (await gateway.get("/sessions", limit=3, cursor=cursor)).json()["data"]
        seen += [row["sessionId"] for row in data["sessions"]]
        cursor = data["cursor"]
        pages += 1
    assert seen == made[::-1]
    assert pages == 3


async def test_pages_stay_as_they_were_while_sessions_come_and_go(gateway: Gateway) -> None:
    made = [await gateway.submit() for _ in range(6)]
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        data = (await gateway.get("/sessions", limit=2, cursor=cursor)).json()["data"]
        seen += [row["sessionId"] for row in data["sessions"]]
        cursor = data["cursor"]
        await gateway.submit()
        await gateway.post(f"/sessions/{seen[-1]}/stop")
    assert seen == made[::-1]


async def test_a_list_is_filtered(gateway: Gateway, engine: FakeEngine) -> None:
    one = await gateway.submit(labels={"team": "a", "x": "1:2"})
    await (await engine.accept()).finish()
    await gateway.submit(labels={"team": "a"})
    other = await gateway.submit(engineId="other")

    async def listed(**params: object) -> list[str]:
        rows = (await gateway.get("/sessions", **params)).json()["data"]["sessions"]
        return [row["sessionId"] for row in rows]

    assert await listed(status="finished") == [one]
    assert await listed(status="pending") == [other]
    assert await listed(engine="other") == [other]
    assert len(await listed(label="team:a")) == 2
    assert await listed(label=["team:a", "x:1:2"]) == [one]
    assert await listed(label="team:b") == []


async def test_a_pending_session_is_canceled_at_once(gateway: Gateway) -> None:
    session = await gateway.submit()
    answer = await gateway.post(f"/sessions/{session}/stop")
    assert answer.status_code == 200
    assert answer.json()["data"] == {"sessionId": session, "process": {"status": "canceled"}}
    again = await gateway.post(f"/sessions/{session}/stop")
    assert again.status_code == 409
    assert (await gateway.get("/stats")).json()["data"]["sessions"]["canceled"] == 1


async def test_a_running_session_stops_when_its_engines_have(
    gateway: Gateway, engine: FakeEngine
) -> None:
    request = gateway.begin("/process-single-engine", an_echo(waitTimeSecond=10))
    part = await engine.accept()
    for _ in range(2):
        answer = await gateway.post(f"/sessions/{part.session}/stop")
        assert answer.status_code == 202
        assert answer.json()["data"]["process"] == {"status": "stopping"}
    await part.stop()
    assert (await request).json()["data"]["process"] == {"status": "canceled"}


async def test_results_are_paged(gateway: Gateway, engine: FakeEngine) -> None:
    session = await gateway.submit()
    part = await engine.accept()
    await part.say(*range(5))
    url = f"/sessions/{session}/results/Result"
    data = (await gateway.get(url, after=1, limit=2)).json()["data"]
    assert data == {
        "channel": "Result",
        "type": "JSON",
        "count": 5,
        "after": 1,
        "results": [1, 2],
        "next": 3,
    }
    assert (await gateway.get(url, after=3)).json()["data"]["next"] is None
    assert (await gateway.get(url, after=9)).json()["data"]["results"] == []
    assert (await gateway.get(f"/sessions/{session}/results/Control")).status_code == 404


async def test_an_answer_says_where_the_rest_of_many_results_is(
    gateway: Gateway, engine: FakeEngine
) -> None:
    session = await gateway.submit()
    part = await engine.accept()
    for _ in range(11):
        await part.say(*range(100))
    await part.finish()
    data = (await gateway.get(f"/process-single-engine/{session}")).json()["data"]
    assert len(data["results"]["Result"]) == 1000
    more = await gateway.client.get(data["more"]["Result"])
    assert more.json()["data"]["results"] == list(range(100))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("POST", "/stop"),
        ("GET", "/results/Result"),
        ("GET", "/results/Result/0/blob"),
    ],
)
async def test_an_unknown_session_is_404(gateway: Gateway, method: str, path: str) -> None:
    for session in ("session-process-workflow-0-1-x", "a:ev"):
        answer = await gateway.client.request(method, f"/api/v1/sessions/{session}{path}")
        assert answer.status_code == 404, answer.text
