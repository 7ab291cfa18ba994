"""``blueengine up`` with real processes: it starts, it scales, it ends without a trace."""

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.integration.local.platform_kit import PATIENCE, an_engine, run, up
from tests.kit.servers import RealRedis
from tests.kit.wait import wait_until

pytestmark = pytest.mark.timeout(300)

NEVER = Path("/never")


@pytest.fixture
def engine(tmp_path: Path) -> str:
    return f"none,{an_engine(tmp_path / 'holder')}"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def redis_port(data: Path) -> int:
    config = (data / "redis" / "redis.conf").read_text()
    return int(config.split("port ")[1].split()[0])


def test_engines_start_from_zero_up_to_the_maximum_and_idle_ones_stop(
    engine: str, data: Path, tmp_path: Path
) -> None:
    first, rest = tmp_path / "first", tmp_path / "rest"
    with up(data, "--engines", engine, "--max-instances", "2", "--cooldown", "2") as platform:
        assert platform.instances() == []
        one = platform.submit(first)
        platform.wait_for(one, "processing")
        assert len(platform.instances()) == 1
        others = [platform.submit(rest) for _ in range(3)]
        wait_until(lambda: len(platform.instances()) == 2, PATIENCE)
        assert len([s for s in others if platform.status(s) == "pending"]) == 2
        first.touch()
        rest.touch()
        for session in [one, *others]:
            platform.wait_for(session, "finished")
        wait_until(lambda: platform.instances() == [], PATIENCE, what="idle instances are stopped")
        again = platform.submit(rest)
        platform.wait_for(again, "finished")
        out = platform.end()
    assert "stopping instance 1, it idles" in out


def test_a_busy_instance_outlives_the_cooldown(engine: str, data: Path, tmp_path: Path) -> None:
    with up(data, "--engines", engine, "--max-instances", "2", "--cooldown", "0") as platform:
        busy = platform.submit(tmp_path / "go")
        platform.wait_for(busy, "processing")
        (instance,) = platform.instances()
        # others come and go beside it, each a chance to stop the wrong one
        for number in range(3):
            done = tmp_path / f"done-{number}"
            done.touch()
            platform.wait_for(platform.submit(done), "finished")
        wait_until(lambda: len(platform.instances()) == 1, PATIENCE)
        assert platform.instances()[0]["id"] == instance["id"]
        (tmp_path / "go").touch()
        platform.wait_for(busy, "finished")
        platform.end()


def test_a_killed_engine_is_noticed_at_once_and_started_again(
    engine: str, data: Path, tmp_path: Path
) -> None:
    slow = {"HEARTBEAT_TIMEOUT": "600", "HEARTBEAT_SECONDS": "1"}
    with up(data, "--engines", engine, environment=slow) as platform:
        session = platform.submit(tmp_path / "go", retry={"maxAttempts": 2})
        platform.wait_for(session, "processing")
        (instance,) = platform.instances()
        os.kill(int(instance["facts"]["pid"]), signal.SIGKILL)
        (tmp_path / "go").touch()
        platform.wait_for(session, "finished")
        assert platform.ask(f"/api/v1/sessions/{session}")["attempt"] == 2
        assert "was killed by SIGKILL" in platform.end()


def test_an_engine_that_does_not_start_is_named_with_its_last_line(
    data: Path, tmp_path: Path
) -> None:
    broken = an_engine(tmp_path / "broken", code="raise SystemExit('the model is missing')")
    with up(data, "--engines", f"none,{broken}") as platform:
        session = platform.submit(NEVER)
        log = data / "logs" / "holder-1.log"
        wait_until(lambda: log.exists() and log.read_text().count("missing") >= 2, PATIENCE)
        assert platform.status(session) == "pending"
        assert "ended with exit code 1: the model is missing (trying again" in platform.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_behind(
    engine: str, data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    go = tmp_path / "go"
    is_hard = number == signal.SIGKILL
    with up(data, "--engines", engine) as platform:
        session = platform.submit(go)
        platform.wait_for(session, "processing")
        if not is_hard:  # an engine at work would be waited for
            go.touch()
            platform.wait_for(session, "finished")
        lines = " ".join(platform.children().values())
        for part in ("redis", "apps.restful.main", "apps.management.main", "engine.py"):
            assert part in lines
        port = redis_port(data)
        out = platform.end(number)
        assert not platform.alive()
        # a process counts as ended a moment before the last of its threads lets go of its sockets
        wait_until(lambda: free(platform.port) and free(port), 5, what="the ports are free")
        if not is_hard:
            assert platform.process.returncode == 0
            assert out.rstrip().endswith("Stopped.")
    # outside of its data folder it had nothing, and the folder can be used again
    go.unlink(missing_ok=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "holder"]
    with up(data, "--engines", engine) as platform:
        platform.wait_for(session, "failed" if is_hard else "finished")
        platform.end()


def test_an_engine_at_work_may_end_its_sessions_first(
    engine: str, data: Path, tmp_path: Path
) -> None:
    with up(data, "--engines", engine) as platform:
        session = platform.submit(tmp_path / "go")
        platform.wait_for(session, "processing")
        platform.process.send_signal(signal.SIGTERM)
        wait_until(lambda: platform.instances()[0]["state"] == "draining", 10)
        (tmp_path / "go").touch()
        platform.wait_ended()
    with up(data, "--engines", "none") as platform:
        assert platform.status(session) == "finished"
        platform.end()


def test_sessions_and_results_survive_a_restart(engine: str, data: Path, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    with up(data, "--engines", engine) as platform:
        session = platform.submit(tmp_path / "go", waitTimeSecond=20)
        assert platform.status(session) == "finished"
        platform.end()
    with up(data, "--engines", engine) as platform:
        answer = platform.ask(f"/api/v1/process-single-engine/{session}")
        assert answer["process"]["status"] == "finished"
        assert len(answer["results"]["Result"]) == 1
        platform.end()


def test_services_that_die_are_started_again(engine: str, data: Path, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    with up(data, "--engines", engine) as platform:
        for part in ("apps.restful.main", "apps.management.main", "redis-server"):
            (pid,) = [p for p, line in platform.children().items() if part in line]
            os.kill(pid, signal.SIGKILL)

            def is_back(part: str = part, old: int = pid) -> bool:
                return any(part in line for p, line in platform.children().items() if p != old)

            wait_until(is_back, PATIENCE, what=f"{part} is back")
        wait_until(platform.ready, PATIENCE)
        session = platform.submit(tmp_path / "go")
        platform.wait_for(session, "finished")
        out = platform.end()
    assert out.count("starting it again") == 3


def test_a_busy_port_is_one_clear_line(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("up", "--port", str(port), "--data", str(data))
    assert done.returncode == 1
    assert done.stderr == (
        f"error: cannot listen on 127.0.0.1:{port} (Address already in use); choose another port "
        "with --port\n"
    )
    assert not data.exists()


def test_a_data_folder_in_use_is_one_clear_line(data: Path) -> None:
    with up(data, "--engines", "none") as platform:
        done = run("up", "--port", "0", "--data", str(data))
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: the data folder {data} is in use by process ")
        assert done.stderr.endswith("choose another folder with --data\n")
        platform.end()


def test_a_redis_of_ones_own_is_used(redis_server: RealRedis, engine: str, data: Path) -> None:
    with up(data, "--engines", engine, "--redis-url", redis_server.url) as platform:
        assert not any("redis-server" in line for line in platform.children().values())
        assert not (data / "redis").exists()
        assert redis_server.call("SISMEMBER", "be:engines", "holder") == ":1"
        platform.end()


def test_a_second_signal_ends_it_at_once(engine: str, data: Path, tmp_path: Path) -> None:
    stubborn = an_engine(
        tmp_path / "stubborn",
        code="import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\ntime.sleep(600)",
    )
    with up(data, "--engines", f"none,{stubborn}") as platform:
        platform.submit(NEVER)
        log = data / "logs" / "holder-1.log"
        wait_until(lambda: log.exists() and "deaf" in log.read_text(), PATIENCE)
        platform.children()
        platform.process.send_signal(signal.SIGINT)
        platform.end(signal.SIGINT, seconds=5)
        assert platform.process.returncode == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--port", "http"], "--port"),
        (["--max-instances", "0"], "--max-instances"),
        (["--colour"], "--colour"),
    ],
)
def test_wrong_usage_is_exit_code_2(words: list[str], complaint: str) -> None:
    done = run("up", *words)
    assert done.returncode == 2
    assert complaint in done.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--engines", "nowhere"], "error: --engines: nowhere is no engine; name its folder"),
        (["--redis-url", "ftp://x"], "error: the Redis URL must look like redis://host:6379/0"),
    ],
)
def test_what_cannot_be_started_is_one_line_and_exit_code_1(
    words: list[str], complaint: str, data: Path
) -> None:
    done = run("up", "--data", str(data), "--port", "0", *words)
    assert done.returncode == 1
    assert done.stderr.startswith(complaint)
    assert done.stderr.count("\n") == 1
