"""The tests' own servers do what the other tests rely on."""

from pathlib import Path

from tests.kit import servers
from tests.kit.servers import RealRedis


def test_every_server_answers(every_redis_server: RealRedis) -> None:
    assert every_redis_server.call("PING") == "+PONG"
    assert every_redis_server.call("DBSIZE") == ":0"


def test_data_outlives_a_kill(own_redis: RealRedis) -> None:
    port = own_redis.port
    assert own_redis.call("SET", "a", "1") == "+OK"
    own_redis.restart(hard=True)
    assert own_redis.port == port
    assert own_redis.call("GET", "a") == "$1"


def test_nothing_is_left_behind() -> None:
    server = RealRedis(servers.found()[-1]).start()
    folder = server.folder
    assert folder.is_dir()
    with server.paused():
        pass
    server.stop()
    assert not folder.exists()
    assert not server.running
    assert not list(Path(folder.parent).glob(f"{folder.name}*"))
