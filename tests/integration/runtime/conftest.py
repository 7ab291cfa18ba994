"""``site`` is a test's own; a module that can share one defines a module-scoped ``site``."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.runtime.site import Platform, Site, a_platform, a_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with a_site(tmp_path) as site:
        yield site


@pytest.fixture
async def platform(site: Site) -> AsyncIterator[Platform]:
    async with a_platform(site) as platform:
        yield platform
