"""A world on each Redis version; whatever a test did to it, it must fit together at the end."""

from collections.abc import AsyncIterator

import pytest

from blueengine.kit.redis_link import Link
from tests.integration.ledger.world import World


@pytest.fixture
async def world(every_link: Link) -> AsyncIterator[World]:
    world = World(every_link)
    yield world
    assert not (await world.view()).faults()
