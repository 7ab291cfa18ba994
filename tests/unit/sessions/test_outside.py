"""Addresses that the platform may call, in every way they can be written."""

import asyncio
import ipaddress
import socket
from typing import Any, Self

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.sessions import outside
from apps.sessions.outside import Rules, literal, receiver_of
from blueengine.errors import SettingsError

NOTHING = Rules()
INSIDE = [
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "127.0.0.1.",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2001:0:1::1]",
    "[fc00::1]",
    "[fd12::1]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fec0::1]",
    "[ff02::1]",
    "[2001:db8::1]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "any.localhost",
]


@pytest.mark.parametrize("host", INSIDE)
@pytest.mark.parametrize("form", ["http://{}/", "https://{}:8443/x?y=z"])
def test_an_address_inside_is_refused(host: str, form: str) -> None:
    assert NOTHING.fault(form.format(host))


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "8.8.8.8",
        "[2606:4700::1]",
        "[::ffff:8.8.8.8]",
        "[64:ff9b::8.8.8.8]",
        "a.b-c_d.e",
    ],
)
def test_an_address_of_the_internet_is_fine(host: str) -> None:
    assert NOTHING.fault(f"https://{host}/in") == ""


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "gopher://example.com",
        "http://",
        "http:///in",
        "http://user:password@example.com/",
        "http://user@example.com/",
        "http://exa mple.com/",
        "http://example.com/\r\nX: y",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:port/",
        "http://a,b/",
        "http://a=b/",
        "http://[::1/",
        "http://" + "x" * 5000,
    ],
)
def test_what_is_no_url_for_us_is_refused(url: str) -> None:
    assert NOTHING.fault(url)


@given(st.text(max_size=60))
def test_any_text_has_an_answer(text: str) -> None:
    for url in (text, f"http://{text}/"):
        if NOTHING.fault(url) == "":
            assert ":" in receiver_of(url)


@given(st.integers(0, 2**32 - 1))
def test_an_address_is_known_however_it_is_written(number: int) -> None:
    address = ipaddress.IPv4Address(number)
    a, b, c, d = address.packed
    forms = [
        str(address),
        str(number),
        hex(number),
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{c * 256 + d}",
        f"0x{a:x}.{b}.0{c:o}.{d}",
    ]
    assert {literal(form) for form in forms} == {address}


@given(st.ip_addresses(v=6))
def test_what_is_not_of_the_internet_is_not_permitted(address: ipaddress.IPv6Address) -> None:
    if not address.is_global and not any(address in net for net, _ in outside._EMBEDDING):
        assert not NOTHING.permits("x", address)


@pytest.mark.parametrize(
    ("allow", "host", "fine"),
    [
        ("loopback", "127.0.0.1", True),
        ("loopback", "[::1]", True),
        ("loopback", "[::ffff:127.0.0.1]", True),
        ("loopback", "localhost", True),
        ("loopback", "10.0.0.1", False),
        ("private", "10.0.0.1", True),
        ("private", "169.254.169.254", False),
        ("10.0.0.0/8, 192.168.7.7", "192.168.7.7", True),
        ("10.0.0.0/8, 192.168.7.7", "192.168.7.8", False),
        ("10.0.0.0/8", "[::ffff:10.0.0.1]", True),
        ("fd00::/8", "[fd12::1]", True),
        ("[::1]", "[::1]", True),
    ],
)
def test_a_deployment_allows_what_it_names(allow: str, host: str, fine: bool) -> None:
    assert (Rules.parse(allow).fault(f"http://{host}/") == "") == fine


def test_a_name_that_is_allowed_may_lead_anywhere() -> None:
    rules = Rules.parse("hooks.internal *.svc.cluster.local")
    inside = ipaddress.ip_address("10.0.0.1")
    assert rules.permits("hooks.internal", inside)
    assert rules.permits("HOOKS.internal.", inside)
    assert rules.permits("a.svc.cluster.local", inside)
    assert not rules.permits("svc.cluster.local.example.com", inside)
    assert not rules.permits("other.internal", inside)


@pytest.mark.parametrize("word", ["10.0.0.0/33", "10.0.0.1/8", "http://x/", "1.2.3", "a/b", "*"])
def test_a_word_that_means_nothing_is_a_wrong_setting(word: str) -> None:
    with pytest.raises(SettingsError, match="OUTSIDE_ALLOW"):
        Rules.parse(f"loopback, {word}")


@pytest.mark.parametrize(
    ("url", "receiver"),
    [
        ("http://Example.COM/in", "example.com:80"),
        ("https://example.com./in", "example.com:443"),
        ("https://bücher.example:8443/", "xn--bcher-kva.example:8443"),
        ("http://[2606:4700::1]/", "[2606:4700::1]:80"),
    ],
)
def test_a_receiver_is_its_host_and_port(url: str, receiver: str) -> None:
    assert receiver_of(url) == receiver


# ---- at the connection ---------------------------------------------------------------------------


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """Names and what each look-up of them answers, the last answer for ever."""
    known: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in known:
            return real(host, port, *more, **options)
        answers = known[name]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


class Listener:
    """A loopback server that counts connections."""

    def __init__(self) -> None:
        self.connections = 0
        self.asked = 0

    async def __aenter__(self) -> Self:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            if await reader.read(100):
                self.asked += 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            writer.close()

        self._server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()


async def test_a_name_that_leads_inside_is_not_even_connected_to(names: Any) -> None:
    names["evil.test"] = [["127.0.0.1"]]
    async with Listener() as there, outside.client(NOTHING) as client:
        with pytest.raises(outside.OutsideError):
            await client.get(f"http://evil.test:{there.port}/")
        assert there.connections == 0


async def test_one_address_inside_among_others_is_one_too_many(names: Any) -> None:
    names["evil.test"] = [["8.8.8.8", "127.0.0.1"]]
    async with outside.client(NOTHING) as client:
        with pytest.raises(outside.OutsideError):
            await client.get("http://evil.test:1/")


async def test_a_name_that_changes_its_answer_gains_nothing(names: Any) -> None:
    # looked up three times at most: when checked, when tried, when connected
    names["evil.test"] = [["8.8.8.8"], ["127.0.0.1"]]
    async with Listener() as there, outside.client(NOTHING) as client:
        with pytest.raises(httpx.HTTPError) as caught:
            await client.get(f"http://evil.test:{there.port}/", timeout=5)
        assert outside.is_refusal(caught.value)
        assert there.asked == 0


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with Listener() as there, outside.client(Rules.parse("loopback")) as client:
        assert (await client.get(f"http://127.0.0.1:{there.port}/")).status_code == 200
