"""What the SDK costs an author: hops, video, overlap, memory, start. Each beside its bare self."""

import asyncio
import multiprocessing
import sys
import tempfile
import time
from collections import defaultdict
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any, Final

from bench import overlap, ways
from bench.measure import Section, Target
from bench.sessions import Say
from bench.stack import Stack
from blueengine.testing import running

STEPS: Final = Path(__file__).parent / "steps" / "engine.py"
SMALL: Final = 1 << 10
LARGE: Final = 1 << 20
FRAMES: Final = 90
MESSAGES: Final = 60
TURNS: Final = 400_000
"""Messages through three computing steps, and how much each step has to do with one."""
WIDTH, HEIGHT = 1280, 720


async def run(stack: Stack, *, quick: bool, say: Say) -> Section:
    """Measure, a few rounds of each."""
    section = Section("sdk")
    rounds = 2 if quick else 5
    found: defaultdict[str, list[float]] = defaultdict(list)
    overlaps: list[tuple[float, float, list[list[overlap.Span]]]] = []
    with tempfile.TemporaryDirectory(prefix="blueengine-bench-") as folder:
        clip = Path(folder, "clip.mp4")
        await asyncio.to_thread(make_clip, clip)
        for number in range(rounds):
            say(f"sdk: round {number + 1} of {rounds}")
            await asyncio.to_thread(_round, found, clip, quick)
            overlaps.append(await asyncio.to_thread(overlap.a_round, MESSAGES, TURNS))
            await asyncio.to_thread(ways.a_round, found)
            await _processes(stack, found)
    hop = Target(2, 1.5)
    section.add("step to step, 1 KiB", [1e6 * each for each in found["small"]], "µs")
    section.ratio("1 KiB ÷ multiprocessing pipe", found["small"], found["small pipe"], hop)
    section.add("step to step, array of 1 MiB", [1e6 * each for each in found["large"]], "µs")
    section.ratio("1 MiB ÷ shared memory", found["large"], found["large shared"], hop)
    section.ratio("1 MiB ÷ multiprocessing pipe", found["large"], found["large pipe"])
    section.add("decode → step → encode, 720p", found["video"], "frames/s")
    section.ratio(
        "video ÷ bare PyAV loop", found["video"], found["video bare"], Target(0.8, 1, at_least=True)
    )
    overlap.add(section, overlaps)
    ways.add(section, found)
    section.add("idle, parent and one worker", found["idle"], "MB", Target(90, 60))
    section.add("start to attendance", [1e3 * each for each in found["start"]], "ms")
    section.ratio(
        "start ÷ a process with the same imports",
        found["start"],
        found["start bare"],
        Target(1.5, 1.2),
    )
    section.notes.append(
        "a hop goes worker → parent → worker; the pipe and the shared memory go straight across"
    )
    return section


def _round(found: dict[str, list[float]], clip: Path, quick: bool) -> None:
    small, large = (5_000, 200) if quick else (20_000, 400)
    for name, size, count in (("small", SMALL, small), ("large", LARGE, large)):
        with running(STEPS, processes=True, virtual_time=False) as engine:
            order = {"count": count, "size": size}
            engine.run(Control=[{"count": 10, "size": size}])  # warm
            [seconds] = engine.run(Control=[order], timeout=120).outputs["Result"]
        found[name].append(seconds / count)
        found[f"{name} pipe"].append(bare_pipe(count, size) / count)
    found["large shared"].append(bare_shared(large, LARGE) / large)
    with running(STEPS, processes=True, virtual_time=False) as engine:
        began = time.perf_counter()
        [frames] = engine.run(Control=[{"video": str(clip)}], timeout=300).outputs["Result"]
        found["video"].append(frames / (time.perf_counter() - began))
    began = time.perf_counter()
    found["video bare"].append(bare_video(clip) / (time.perf_counter() - began))


# -- the bare sides --------------------------------------------------------------------------------


def _send(far: "Connection[Any, Any]", count: int, size: int) -> None:
    import numpy as np

    value = np.zeros(size, np.uint8) if size >= LARGE else bytes(size)
    far.recv()
    for _ in range(count):
        far.send(value)
    far.close()


def bare_pipe(count: int, size: int) -> float:
    """Send Python objects from one process to this one; seconds."""
    context = multiprocessing.get_context("spawn")
    here, far = context.Pipe()
    process = context.Process(target=_send, args=(far, count, size))
    process.start()
    far.close()
    here.send("go")
    here.recv()
    began = time.perf_counter()
    for _ in range(count - 1):
        here.recv()
    seconds = time.perf_counter() - began
    process.join()
    return seconds


def _share(far: "Connection[Any, Any]", count: int, size: int) -> None:
    import numpy as np

    value = np.zeros(size, np.uint8)
    far.recv()
    for _ in range(count):
        block = SharedMemory(create=True, size=size)
        np.ndarray((size,), np.uint8, block.buf)[:] = value
        block.close()
        far.send(block.name)
    far.recv()


def bare_shared(count: int, size: int) -> float:
    """Send arrays by shared memory, one block each, names through a pipe; seconds."""
    import numpy as np

    context = multiprocessing.get_context("spawn")
    here, far = context.Pipe()
    process = context.Process(target=_share, args=(far, count, size))
    process.start()
    here.send("go")
    began = 0.0
    for number in range(count):
        block = SharedMemory(name=here.recv())
        int(np.ndarray((size,), np.uint8, block.buf)[-1])
        block.close()
        block.unlink()
        if not number:
            began = time.perf_counter()
    seconds = time.perf_counter() - began
    here.send("done")
    process.join()
    return seconds


def make_clip(path: Path) -> None:
    """Write a moving picture of 720p."""
    import numpy as np

    from blueengine import VideoWriter

    rows = np.arange(HEIGHT, dtype=np.uint16)[:, None, None]
    columns = np.arange(WIDTH, dtype=np.uint16)[None, :, None]
    with VideoWriter(path, rate=30) as out:
        for number in range(FRAMES):
            picture = (rows + columns * np.array([1, 2, 3], np.uint16) + 5 * number) % 256
            out.write(picture.astype(np.uint8))


def bare_video(clip: Path) -> int:
    """Decode, darken and encode in one loop of PyAV; frames."""
    import av

    count = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        av.open(str(clip)) as source,
        av.open(str(Path(folder, "out.mp4")), "w") as target,
    ):
        stream = source.streams.video[0]
        stream.thread_type = "AUTO"
        out = target.add_stream("h264", rate=30)
        assert isinstance(out, av.VideoStream)
        out.width, out.height, out.pix_fmt, out.thread_type = WIDTH, HEIGHT, "yuv420p", "AUTO"
        for frame in source.decode(stream):
            dark = frame.to_ndarray(format="rgb24") // 2
            target.mux(out.encode(av.VideoFrame.from_ndarray(dark, format="rgb24")))
            count += 1
        target.mux(out.encode(None))
    return count


# -- processes -------------------------------------------------------------------------------------

BARE: Final = (
    "import blueengine.runtime.start, blueengine.runtime.launch, uvloop, bench.stream"
    ", blueengine.datatypes.structured"
)
"""All that the parent process of that engine has imported once it attends."""


async def _processes(stack: Stack, found: dict[str, list[float]]) -> None:
    """Time the start of an engine, and weigh it idle."""
    began = time.perf_counter()
    await stack.start_engines(["idle"])
    found["start"].append(time.perf_counter() - began)
    await asyncio.sleep(1)
    found["idle"].append(_weight(stack.children["idle"].pid) / 1e6)
    await stack.stop("idle")
    began = time.perf_counter()
    bare = await asyncio.create_subprocess_exec(sys.executable, "-c", BARE)
    await bare.wait()
    found["start bare"].append(time.perf_counter() - began)


def _weight(pid: int) -> int:
    """Return the bytes of a process and its children, what is shared counted by its share."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    below = [pid, *(child for child, parent in parents.items() if parent == pid)]
    total = 0
    for each in below:
        for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total
