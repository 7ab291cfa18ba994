"""Registered engine specs, kept in memory and checked for age at every submit."""

from collections.abc import Mapping

from apps.sessions.store import SessionStore
from blueengine.wire.spec import EngineSpec


class Specs:
    """The specs as last read, with the version they had at least."""

    def __init__(self, store: SessionStore) -> None:
        """Know nothing yet; ``version`` is one that no store has."""
        self.version = -2
        self.known: Mapping[str, EngineSpec] = {}
        self._store = store

    async def reload(self) -> bool:
        """Read them anew if they changed; say whether they had.

        The version is read first: should a spec change in between, the version is the older one
        and the next submit is told so.
        """
        version = await self._store.specs_version()
        if version == self.version:
            return False
        self.known = await self._store.specs()
        self.version = version
        return True
