"""What is put off to the end of a turn."""

import asyncio

import pytest

from blueengine.kit.turn import Turn


async def test_what_is_put_off_in_a_block_is_done_at_its_end_in_order() -> None:
    turn, done = Turn(), list[int]()
    with turn:
        turn.soon(done.append, 1)
        turn.soon(done.append, 2)
        assert done == []
    assert done == [1, 2]


async def test_what_that_puts_off_is_done_too() -> None:
    turn, done = Turn(), list[int]()
    with turn:
        turn.soon(lambda: turn.soon(done.append, 1))
    assert done == [1]


async def test_a_block_within_a_block_ends_with_the_outer_one() -> None:
    turn, done = Turn(), list[int]()
    with turn:
        with turn:
            turn.soon(done.append, 1)
        assert done == []
    assert done == [1]


async def test_outside_a_block_it_is_done_in_the_next_turn_of_the_loop() -> None:
    turn, done = Turn(), list[int]()
    turn.soon(done.append, 1)
    assert done == []
    await asyncio.sleep(0)
    assert done == [1]


async def test_a_block_does_what_was_put_off_before_it() -> None:
    turn, done = Turn(), list[int]()
    turn.soon(done.append, 1)
    with turn:
        turn.soon(done.append, 2)
    assert done == [1, 2]
    await asyncio.sleep(0)
    assert done == [1, 2]


async def test_one_that_fails_does_not_keep_the_others_from_being_done() -> None:
    turn, done = Turn(), list[int]()

    def fail() -> None:
        raise OSError("broken")

    def block() -> None:
        with turn:
            turn.soon(fail)
            turn.soon(done.append, 1)

    with pytest.raises(OSError, match="broken"):
        block()
    await asyncio.sleep(0)
    assert done == [1]
