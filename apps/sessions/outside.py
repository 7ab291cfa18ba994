"""What the platform may call outside: the rule of addresses, and a client that keeps it.

Callbacks and files by URL let a client of ours choose an address that *we* then speak to. Unless a
deployment allows it, that is never an address of our own network: loopback, private, link-local (where
clouds keep their secrets), or any other that the internet does not route, in whatever way it is
written and whatever name it hides behind. The rule is kept three times:

* ``Rules.fault`` looks at a URL as it is given, so that a plain mistake is refused at once;
* ``Rules.names`` of a client's request are resolved and refused before anything is connected;
* each connection is made to the very address that was checked, so a name that changes its answer in
  between (DNS rebinding) gains nothing. Redirects are new connections, checked like any other.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self

import httpx
from httpx_secure import SSRFProtectionError, httpx_ssrf_protection

from blueengine.errors import BlueEngineError, SettingsError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PORTS: Final = {"http": 80, "https": 443}
LONGEST_URL: Final = 4096
_HOST: Final = re.compile(r"[a-z0-9._-]{1,253}")
DNS_KEPT_SECONDS: Final = 30.0
_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
}
_EMBEDDING: Final = (  # IPv6 networks whose addresses lead to IPv4 ones: (network, where these begin)
    (ipaddress.IPv6Network("::ffff:0:0/96"), 96),
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 96),
    (ipaddress.IPv6Network("::/96"), 96),
    (ipaddress.IPv6Network("64:ff9b::/96"), 96),
    (ipaddress.IPv6Network("2002::/16"), 16),
)


class OutsideError(BlueEngineError):
    """An address that may not be called; the message names it and the setting that decides."""

    code = "forbidden-address"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which addresses may be called besides those of the internet."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()
    """Names that may lead anywhere; ``.example`` stands for all names below it."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the rules in a setting: networks, addresses, names, ``loopback``, ``private``.

        Raises:
            SettingsError: A word of it is none of these.
        """
        networks: list[Network] = []
        hosts: set[str] = set()
        for word in text.replace(",", " ").split():
            if word in _WORDS:
                networks += [ipaddress.ip_network(network) for network in _WORDS[word]]
                continue
            try:
                networks.append(ipaddress.ip_network(word.strip("[]")))
            except ValueError:
                name = word.lower().removeprefix("*")
                if not all(c.isalnum() or c in "-_." for c in name) or _looks_numeric(name):
                    raise SettingsError(
                        f"OUTSIDE_ALLOW: {word!r} is no network (10.0.0.0/8), address, host name, "
                        "'loopback' or 'private'"
                    ) from None
                hosts.add(name)
        return cls(networks=tuple(networks), hosts=frozenset(hosts))

    def permits(self, host: str, address: Address) -> bool:
        """Say whether ``address``, found under the name ``host``, may be called."""
        if self._is_named(host):
            return True
        plain = _plain(address)
        if any(one in network for one in {address, plain} for network in self.networks):
            return True
        return _is_public(plain)

    def fault(self, url: str) -> str:
        """Return what is wrong with a URL as it stands, or nothing; names are not looked up."""
        if len(url) > LONGEST_URL or not url.isprintable() or " " in url:
            return f"it must be a URL of at most {LONGEST_URL} printable characters"
        try:
            parsed = httpx.URL(url)
        except (ValueError, httpx.InvalidURL):
            return "it is no URL"
        host = parsed.raw_host.decode().rstrip(".")
        wrong = {
            "it must begin with http:// or https://": parsed.scheme not in PORTS,
            "it has no host": not host,
            "it must hold no name or password": bool(parsed.userinfo),
            "its port must be 1 to 65535": parsed.port is not None and not 0 < parsed.port < 65536,
        }
        return next((why for why, so in wrong.items() if so), "") or self._host_fault(host)

    def _host_fault(self, host: str) -> str:
        address = literal(host)
        if address is None:
            if not _HOST.fullmatch(host):
                return f"{host[:80]!r} is no host name"
            if host != "localhost" and not host.endswith(".localhost"):
                return ""
            address = ipaddress.IPv4Address("127.0.0.1")
        return "" if self.permits(host, address) else refusal(host)

    async def check_name(self, host: str, port: int) -> None:
        """See that a name leads to addresses that may be called, all of them.

        Raises:
            OutsideError: One may not.
            OSError: The name is unknown.
        """
        if self._is_named(host):
            return
        if (address := literal(host)) is not None:
            if not self.permits(host, address):
                raise OutsideError(refusal(host))
            return
        loop = asyncio.get_running_loop()
        for *_, place in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            address = ipaddress.ip_address(str(place[0]).partition("%")[0])
            if not self.permits(host, address):
                raise OutsideError(refusal(host))

    def _is_named(self, host: str) -> bool:
        host = host.lower().rstrip(".")
        return host in self.hosts or any(
            host.endswith(name) for name in self.hosts if name.startswith(".")
        )


def refusal(host: str) -> str:
    """Return the words for an address that may not be called."""
    return (
        f"{host} is an address inside the platform's own network; a deployment that means it "
        "names it in OUTSIDE_ALLOW"
    )


def receiver_of(url: str) -> str:
    """Return ``host:port`` of a URL without a fault."""
    parsed = httpx.URL(url)
    host = parsed.raw_host.decode().rstrip(".")
    return f"{f'[{host}]' if ':' in host else host}:{parsed.port or PORTS[parsed.scheme]}"


def literal(host: str) -> Address | None:
    """Return the address that ``host`` is, in any form a resolver takes; None for a name.

    That is 127.0.0.1 and ::1, but also 127.1, 2130706433, 0x7f.1 and 0177.0.0.1.
    """
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    pieces = host.split(".")
    if not 1 <= len(pieces) <= 4:
        return None
    try:
        numbers = [_number(piece) for piece in pieces]
    except ValueError:
        return None
    *leading, last = numbers
    if any(number > 255 for number in leading) or last >= 256 ** (4 - len(leading)):
        return None
    value = last
    for index, number in enumerate(leading):
        value += number << 8 * (3 - index)
    return ipaddress.IPv4Address(value)


def _number(text: str) -> int:
    if not text.isascii() or not text[:1].isdigit() or "_" in text:
        raise ValueError(text)
    if text[:2].lower() == "0x":
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") and len(text) > 1 else 10)


def _looks_numeric(name: str) -> bool:
    return literal(name) is not None or not any(c.isalpha() for c in name)


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to, else the address itself."""
    if isinstance(address, ipaddress.IPv6Address) and address not in {
        ipaddress.IPv6Address("::"),
        ipaddress.IPv6Address("::1"),
    }:
        for network, bit in _EMBEDDING:
            if address in network:
                return ipaddress.IPv4Address(int(address) >> (96 - bit) & 0xFFFFFFFF)
    return address


def _is_public(address: Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not (isinstance(address, ipaddress.IPv6Address) and address.is_site_local)
    )


@asynccontextmanager
async def client(
    rules: Rules, *, follow_redirects: bool = False
) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client that connects to permitted addresses only; no proxy, no cookies kept."""

    async def check(request: httpx.Request) -> None:
        url = request.url
        try:
            await rules.check_name(url.host, url.port or PORTS.get(url.scheme, 0))
        except OSError as exc:
            raise httpx.ConnectError(f"{url.host}: {exc.strerror or exc}", request=request) from exc

    opened = httpx.AsyncClient(
        follow_redirects=follow_redirects,
        max_redirects=5,
        trust_env=False,
        event_hooks={"request": [check]},
        # each request has a connection of its own: one that was idle may be dead
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
    )
    async with opened:
        httpx_ssrf_protection(
            opened,
            check_globally_reachable=False,
            custom_validator=lambda host, address, _: rules.permits(host, address),
            dns_cache_ttl=DNS_KEPT_SECONDS,
        )
        yield opened


def is_refusal(error: Exception) -> bool:
    """Say whether a request failed because its address may not be called."""
    return isinstance(error, (OutsideError, SSRFProtectionError))
