"""Servers end with the tests that started them, even when those are killed."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.kit import kafka
from tests.kit.engines.process import alive
from tests.kit.fixtures import need_kafka
from tests.kit.wait import wait_until

START = """
import sys, threading, time
from tests.kit.servers import RealRedis
from tests.kit.kafka import RealKafka

started = []
def begin():  # in a thread that ends, as tests do
    redis = RealRedis().start()
    started.append((redis.pid, redis.folder))
    kafka = RealKafka()
    kafka._prepare()
    kafka.brokers[0].start()
    started.append((kafka.brokers[0].process.pid, kafka.folder))
    globals().update(redis=redis, kafka=kafka)

thread = threading.Thread(target=begin)
thread.start()
thread.join()
for pid, folder in started:
    print(pid, folder, flush=True)
print("ready", flush=True)
time.sleep(600)
"""


def test_servers_of_a_run_that_was_killed_end_and_leave_no_folder() -> None:
    need_kafka()
    kafka.prepare()
    with subprocess.Popen(
        [sys.executable, "-c", START], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as run:
        assert run.stdout
        lines = [line.split() for line in iter(run.stdout.readline, "ready\n")]
        pids = [int(pid) for pid, _ in lines]
        assert len(pids) == 2
        assert alive(*pids)
        run.send_signal(signal.SIGKILL)
    wait_until(lambda: not alive(*pids), 20, what="the servers end")
    wait_until(lambda: not any(Path(folder).exists() for _, folder in lines), 20)


def test_a_run_ends_although_a_copy_of_the_pipe_stays_open() -> None:
    code = (
        "import os; from tests.kit import guardian; guardian.begin();"
        "os.dup(guardian._guardian._process.stdin.fileno())"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path.cwd(), timeout=20, check=True)
