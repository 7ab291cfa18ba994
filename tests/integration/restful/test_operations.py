"""Engines, counts, probes, metrics, and a Redis that goes away."""

import asyncio

import httpx

from apps.restful.api import schemas
from blueengine.wire.spec import EngineSpec
from tests.integration.restful.conftest import Gateway, an_echo
from tests.integration.restful.fake_engine import FakeEngine
from tests.kit.servers import RealRedis
from tests.kit.wait import until


async def test_an_engine_shows_its_spec_and_load(gateway: Gateway, engine: FakeEngine) -> None:
    for _ in range(5):
        await gateway.submit()
    (listed,) = (await gateway.get("/engines")).json()["data"]["engines"]
    assert listed == {
        "id": "echo",
        "name": "Echo",
        "concurrency": 2,
        "inputs": engine.spec.inputs,
        "outputs": engine.spec.outputs,
        "instances": 1,
        "freeSlots": 0,
        "usedSlots": 2,
        "pending": 3,
        "active": 2,
        "waiting": 3,
        "demand": 5,
        "desiredReplicas": 3,
    }
    detail = (await gateway.get("/engines/echo")).json()["data"]
    (instance,) = detail.pop("instanceList")
    assert detail == listed
    assert (instance["id"], instance["usedSlots"]) == ("echo-instance", 2)
    assert instance["facts"]["host"] == "here"


async def test_an_engine_never_seen_is_404(gateway: Gateway) -> None:
    for engine in ("nothing", "a:b", "x" * 100):
        assert (await gateway.get(f"/engines/{engine}")).status_code == 404


async def test_counts_and_metrics_tell_the_same(gateway: Gateway, engine: FakeEngine) -> None:
    await gateway.submit()
    await (await engine.accept()).finish()
    await gateway.get("/sessions/nothing")
    stats = (await gateway.get("/stats")).json()["data"]
    assert stats["sessions"]["finished"] == stats["totalSessions"] == stats["engines"] == 1
    text = (await gateway.client.get("/metrics")).text
    assert 'blueengine_sessions{status="finished"} 1.0' in text
    assert "blueengine_redis_up 1.0" in text
    posts = 'method="POST",route="/api/v1/process-single-engine"'
    assert f'blueengine_http_requests_total{{code="202",{posts}}} 1.0' in text
    gets = 'method="GET",route="/api/v1/sessions/{session_id}"'
    assert f'blueengine_http_requests_total{{code="404",{gets}}} 1.0' in text


async def test_unknown_paths_do_not_fill_the_metrics(gateway: Gateway) -> None:
    for n in range(3):
        await gateway.get(f"/nothing-{n}")
    text = (await gateway.client.get("/metrics")).text
    assert 'blueengine_http_requests_total{code="404",method="",route="(none)"} 3.0' in text


async def test_a_gateway_lives_and_is_ready(gateway: Gateway) -> None:
    assert (await gateway.client.get("/healthz")).json() == {"status": "ok"}
    ready = await gateway.client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ok")


async def test_without_redis_requests_are_503_and_the_gateway_comes_back(
    gateway_of_own_redis: Gateway, own_redis: RealRedis
) -> None:
    gateway = gateway_of_own_redis
    session = await gateway.submit()
    own_redis.halt()
    ready = await gateway.client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["parts"]["redis"]
    answers = await asyncio.gather(
        gateway.post("/process-single-engine", an_echo()),
        gateway.get(f"/process-single-engine/{session}"),
        gateway.get("/engines"),
    )
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert answer.headers["retry-after"]
        assert answer.json()["data"]["errors"][0]["type"] == "store-away"
    assert (await gateway.client.get("/healthz")).status_code == 200
    assert "blueengine_redis_up 0.0" in (await gateway.client.get("/metrics")).text
    own_redis.start()

    async def answers_again() -> bool:
        return (await gateway.get(f"/process-single-engine/{session}")).status_code == 202

    await until(answers_again, 15)


async def test_who_waits_hears_of_an_end_that_came_while_nobody_listened(
    gateway_of_own_redis: Gateway, own_redis: RealRedis
) -> None:
    gateway = gateway_of_own_redis
    async with FakeEngine(own_redis.url) as engine:
        request = gateway.begin("/process-single-engine", an_echo(waitTimeSecond=20))
        part = await engine.accept()
        await until(lambda: len(gateway.parts.pokes) == 1)
        # the subscription is cut and cannot be made again before the session has ended
        own_redis.call("ACL", "SETUSER", "default", "-subscribe")
        own_redis.call("CLIENT", "KILL", "TYPE", "pubsub")
        await part.finish()
        assert not request.done()
        own_redis.call("ACL", "SETUSER", "default", "+subscribe")
        own_redis.call("CLIENT", "KILL", "TYPE", "normal")
        async with asyncio.timeout(15):
            answer = await request
    assert answer.json()["data"]["process"]["status"] == "finished"


async def test_a_redis_that_refuses_writes_is_503(
    gateway_of_own_redis: Gateway, own_redis: RealRedis
) -> None:
    gateway = gateway_of_own_redis
    own_redis.call("CONFIG", "SET", "maxmemory", "1")
    answer = await gateway.post("/process-single-engine", an_echo())
    assert answer.status_code == 503, answer.text
    assert answer.json()["data"]["errors"][0]["type"] == "store-refuses-writes"
    own_redis.call("CONFIG", "SET", "maxmemory", "0")
    assert (await gateway.post("/process-single-engine", an_echo())).status_code == 202


async def test_a_submit_is_counted_again_when_specs_change_meanwhile(
    gateway: Gateway, redis_server: RealRedis
) -> None:
    """The gateway's specs are old at every submit, and each is checked again."""
    spec = EngineSpec(id="other", name="x", concurrency=1, inputs={}, outputs={})
    async with FakeEngine(redis_server.url, spec) as engine:
        for number in range(3):
            await engine.attend(
                EngineSpec(id="other", name=f"x{number}", concurrency=1, inputs={}, outputs={})
            )
            answer = await gateway.post("/process-single-engine", an_echo())
            assert answer.status_code == 202


async def test_the_document_is_complete(gateway: Gateway) -> None:
    document = (await gateway.client.get("/openapi.json")).json()
    assert document["info"]["title"] == "BlueEngine"
    posts = document["paths"]["/api/v1/process-workflow"]["post"]
    schema = posts["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/WorkflowRequest"}
    schemas = document["components"]["schemas"]
    assert schemas["WorkflowRequest"]["properties"].keys() >= {"dataChannels", "startData", "rank"}

    def references(node: object) -> set[str]:
        match node:
            case {"$ref": str(ref)}:
                return {ref}
            case dict():
                return set().union(*map(references, node.values())) if node else set()
            case list():
                return set().union(*map(references, node)) if node else set()
        return set()

    for ref in references(document):
        assert ref.removeprefix("#/components/schemas/") in schemas, ref
    for path, methods in document["paths"].items():
        for method in methods.values():
            assert method["summary"], path
            assert set(method["responses"]) - {"default"}, path
    assert (await gateway.client.get("/docs")).status_code == 200


async def test_answers_are_what_the_document_says(gateway: Gateway, engine: FakeEngine) -> None:
    """Each answer is read back by the model that documents it, and holds nothing beside it."""
    session = await gateway.submit()
    part = await engine.accept()
    await part.say(1)
    queued = [await gateway.submit() for _ in range(2)][-1]
    await part.fail("broken")

    def holds(model: type[schemas.Envelope], answer: httpx.Response) -> None:  # type: ignore[type-arg]
        made = model.model_validate(answer.json()).model_dump(by_alias=True, exclude_unset=True)
        assert made == answer.json()

    holds(
        schemas.Envelope[schemas.SessionAnswer],
        await gateway.get(f"/process-single-engine/{session}"),
    )
    holds(
        schemas.Envelope[schemas.SessionAnswer],
        await gateway.get(f"/process-single-engine/{queued}"),
    )
    for one in (session, queued):
        holds(schemas.Envelope[schemas.SessionDetail], await gateway.get(f"/sessions/{one}"))
    holds(schemas.Envelope[schemas.SessionList], await gateway.get("/sessions"))
    holds(
        schemas.Envelope[schemas.ResultPage],
        await gateway.get(f"/sessions/{session}/results/Result"),
    )
    holds(schemas.Envelope[schemas.EngineList], await gateway.get("/engines"))
    holds(schemas.Envelope[schemas.EngineDetail], await gateway.get("/engines/echo"))
    holds(schemas.Envelope[schemas.Stats], await gateway.get("/stats"))
    holds(schemas.Envelope[schemas.Stopped], await gateway.post(f"/sessions/{queued}/stop"))
