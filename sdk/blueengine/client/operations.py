"""What an operator does with a platform: deliveries of webhooks, their secrets, keys, tenants."""

from collections.abc import AsyncGenerator, Iterable
from typing import Any, Final, Literal
from urllib.parse import quote

import orjson

from blueengine.client import answers
from blueengine.client.http import Http
from blueengine.wire.access import Scope

KEYS: Final = "/api/v1/keys"
TENANTS: Final = "/api/v1/tenants"
WEBHOOKS: Final = "/api/v1/webhooks"
PAGE: Final = 200
"""Deliveries or keys that are asked for at a time."""

DeliveryState = Literal["retrying", "delivered", "dead"]
ScopeWord = Literal["submit", "read", "admin"]


class Operations:
    """The part of a client that is for operators; see ``AsyncClient``."""

    _http: Http

    # -- webhooks ---------------------------------------------------------------------------------

    async def deliveries(
        self, *, state: DeliveryState = "dead", tenant: str = "", limit: int | None = None
    ) -> AsyncGenerator[answers.Delivery, None]:
        """Yield deliveries of webhooks, the last changed first, page by page as they are taken.

        Those of one session are in ``session.webhooks()``.

        Args:
            state: ``dead`` (given up, kept for a week), ``retrying`` or ``delivered`` (a day).
            tenant: For operators: another tenant's than their own.
            limit: At most so many; None: all.
        """
        params = {"state": state, "tenant": tenant or None}
        async for page in self._pages(WEBHOOKS, params, limit):
            for found in answers.as_record(answers.Deliveries, page).deliveries:
                yield found

    async def delivery(self, delivery_id: str) -> answers.Delivery:
        """Return what became of an event: each try with its time, latency, code and answer.

        Raises:
            NotFoundError: There is none.
        """
        data = await self._http.call("GET", f"{WEBHOOKS}/{quote(delivery_id, safe='')}")
        return answers.as_record(answers.Delivery, data)

    async def redeliver(self, delivery_id: str) -> answers.Delivery:
        """Have a dead event sent again, with the same id and body, retried like a new one.

        Raises:
            NotFoundError: There is none.
            ConflictError: It is not dead.
        """
        route = f"{WEBHOOKS}/{quote(delivery_id, safe='')}/redeliver"
        data = await self._http.call("POST", route, repeatable=False)
        return answers.as_record(answers.Delivery, data)

    async def webhook_secrets(self, *, tenant: str = "") -> list[answers.Secret]:
        """Return the secrets that sign webhooks now, newest first; ``verify_webhook`` takes them.

        Args:
            tenant: For operators: another tenant than their own.
        """
        params = {"tenant": tenant or None}
        data = await self._http.call("GET", f"{WEBHOOKS}/secret", params=params)
        return answers.as_record(answers.Secrets, data).secrets

    async def rotate_webhook_secret(
        self, *, keep_old: float = 86_400.0, tenant: str = ""
    ) -> list[answers.Secret]:
        """Make a new secret, and return all that sign now, newest first.

        Args:
            keep_old: Seconds for which the old one signs, too; 0 revokes it at once.
            tenant: For operators: another tenant than their own.
        """
        data = await self._http.call(
            "POST",
            f"{WEBHOOKS}/secret/rotate",
            params={"keepOldSecond": keep_old, "tenant": tenant or None},
            repeatable=False,
        )
        return answers.as_record(answers.Secrets, data).secrets

    # -- keys -------------------------------------------------------------------------------------

    async def create_key(
        self,
        *,
        tenant: str = "",
        scopes: Iterable[Scope | ScopeWord] = (Scope.SUBMIT, Scope.READ),
        name: str = "",
        expires_in: float | None = None,
        rate: float = 0.0,
        max_body: int = 0,
    ) -> answers.NewKey:
        """Make an API key. It is in the answer this once; the platform keeps a digest of it.

        Args:
            tenant: Whose key it is; your own tenant's when left out.
            scopes: What it may do.
            name: For people.
            expires_in: Seconds for which it is valid; None: until it is revoked.
            rate: Requests per second; 0: as the gateway's settings say.
            max_body: Bytes of a request; 0: as the gateway's settings say.
        """
        asked: dict[str, Any] = {"scopes": list(scopes), "tenant": tenant, "name": name}
        asked |= {"ratePerSecond": rate, "maxBody": max_body}
        asked |= {} if expires_in is None else {"expiresInSecond": expires_in}
        data = await self._send_json("POST", KEYS, asked, repeatable=False)
        return answers.as_record(answers.NewKey, data)

    async def api_keys(
        self, *, tenant: str = "", limit: int | None = None
    ) -> AsyncGenerator[answers.Key, None]:
        """Yield keys, newest first, revoked and expired ones too; never the keys themselves.

        Args:
            tenant: Only this tenant's.
            limit: At most so many; None: all.
        """
        async for page in self._pages(KEYS, {"tenant": tenant or None}, limit):
            for found in answers.as_record(answers.Keys, page).keys:
                yield found

    async def api_key(self, key_id: str) -> answers.Key:
        """Return what is kept of a key.

        Raises:
            NotFoundError: There is none.
        """
        data = await self._http.call("GET", f"{KEYS}/{quote(key_id, safe='')}")
        return answers.as_record(answers.Key, data)

    async def revoke_key(self, key_id: str) -> answers.Key:
        """End a key at once, at every gateway.

        Raises:
            NotFoundError: There is none.
        """
        data = await self._http.call("DELETE", f"{KEYS}/{quote(key_id, safe='')}")
        return answers.as_record(answers.Key, data)

    # -- tenants ----------------------------------------------------------------------------------

    async def tenants(self) -> list[answers.Tenant]:
        """Return every tenant that was given a key or a limit."""
        data = await self._http.call("GET", TENANTS)
        return answers.as_record(answers.Tenants, data).tenants

    async def tenant(self, name: str) -> answers.Tenant:
        """Return a tenant's limits, and how many of its sessions run and wait now.

        Raises:
            NotFoundError: There is none.
        """
        data = await self._http.call("GET", f"{TENANTS}/{quote(name, safe='')}")
        return answers.as_record(answers.Tenant, data)

    async def limit_tenant(
        self, name: str, *, max_running: int = 0, max_pending: int = 0
    ) -> answers.Tenant:
        """Say how many sessions of a tenant may run and wait at the same time.

        Args:
            name: The tenant.
            max_running: More wait; 0: no limit.
            max_pending: More are refused; 0: no limit.
        """
        asked = {"maxRunning": max_running, "maxPending": max_pending}
        data = await self._send_json("PUT", f"{TENANTS}/{quote(name, safe='')}", asked)
        return answers.as_record(answers.Tenant, data)

    # ---------------------------------------------------------------------------------------------

    async def _send_json(
        self, method: str, route: str, value: object, *, repeatable: bool = True
    ) -> dict[str, Any]:
        return await self._http.call(
            method,
            route,
            body=orjson.dumps(value),
            headers={"Content-Type": "application/json"},
            repeatable=repeatable,
        )

    async def _pages(
        self, route: str, params: dict[str, Any], limit: int | None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield pages of a list until its end, or until they hold ``limit`` rows."""
        left, cursor = limit, ""
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            asked = params | {"limit": size, "cursor": cursor or None}
            page = await self._http.call("GET", route, params=asked)
            yield page
            if left is not None:
                left -= size
            cursor = str(page.get("cursor") or "")
            if not cursor:
                return
