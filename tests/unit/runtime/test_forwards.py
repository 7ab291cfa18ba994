"""What steps forward: any object, its arrays through shared memory, nothing left of it."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blueengine import BlueEngine
from blueengine.runtime.forwards import ALIGNED, Forwards
from blueengine.testing import running


def there_and_back(value: Any, folder: Path | str = "") -> tuple[Any, str]:
    payload, lengths, file, _ = Forwards().write(value, str(folder))
    return Forwards().read(payload, lengths, file), file


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", [(3,), (300, 300, 3)])
def test_arrays_come_back_equal_aligned_and_may_be_changed(
    tmp_path: Path, shape: tuple[int, ...], shared: bool
) -> None:
    rng = np.random.default_rng(1)
    value = {"a": rng.integers(0, 255, shape, np.uint8), "b": [rng.random(shape), "text"], "c": {1}}
    back, file = there_and_back(value, tmp_path / "session" if shared else "")
    assert bool(file) == (shared and len(shape) == 3)
    assert np.array_equal(back["a"], value["a"])
    assert np.array_equal(back["b"][0], value["b"][0])
    assert (back["b"][1], back["c"]) == ("text", {1})
    back["a"][0] = 7
    if file:
        assert back["b"][0].ctypes.data % ALIGNED == 0


def test_a_slice_and_a_transposed_array_are_carried_too(tmp_path: Path) -> None:
    whole = np.arange(300_000).reshape(1000, 300)
    for value in (whole[::2, ::-1], whole.T):
        assert np.array_equal(there_and_back(value, tmp_path)[0], value)


def test_a_large_object_without_arrays_goes_by_shared_memory_too(tmp_path: Path) -> None:
    back, file = there_and_back(["x" * 100_000], tmp_path)
    assert back == ["x" * 100_000]
    assert file


def test_without_room_it_goes_without_shared_memory(tmp_path: Path) -> None:
    taken = tmp_path / "a file where the folder should be"
    taken.touch()
    back, file = there_and_back(np.zeros(1_000_000), taken)
    assert (back.shape, file) == ((1_000_000,), "")


def test_nothing_is_left_when_a_session_has_ended_however_it_ended() -> None:
    engine = BlueEngine({"ENGINE": {"ID": "e"}, "OUTPUTS": {"NAMES": ["Out"], "TYPES": ["JSON"]}})
    array = np.ones((512, 1024), np.uint8)

    def make(_: Any, inputs: Any) -> Any:
        for _number in range(inputs["Control"]):
            yield {"forward": array}
        if inputs["Control"] == 3:
            raise ValueError("three")

    engine.add_step("make", process_func=make, input_channels=["Control"], output_channels=["forward"])  # fmt: skip
    engine.add_step(
        "sum",
        process_func=lambda _, inputs: {"Out": int(inputs["forward"].sum())},
        input_channels=["forward"],
        output_channels=["Out"],
    )
    with running(engine) as run:
        shared = run.up._instance.shared
        assert shared
        assert run.run(Control=[2]).outputs["Out"] == [array.size] * 2
        assert run.begin().send("Control", 3).ended().status == "failed"
        assert run.begin().send("Control", 50).stop().ended().status == "stopped"
        run.run(Control=[1])
        assert os.listdir(shared) == []  # noqa: PTH208 - names alone
    assert not shared.exists()
