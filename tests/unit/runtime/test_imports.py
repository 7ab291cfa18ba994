"""What a worker process loads before the author's code: each start waits for it."""

import subprocess
import sys


def test_a_worker_loads_no_event_loop_before_a_function_needs_one() -> None:
    code = "import sys, blueengine.runtime.child; print('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
