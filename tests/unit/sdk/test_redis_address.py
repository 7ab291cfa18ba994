"""Where Redis is: read from a URL, shown without its secrets."""

import pytest

from blueengine.errors import SettingsError
from blueengine.kit.redis_address import RedisAddress


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://db.example", RedisAddress(host="db.example")),
        ("redis://db:7000/3", RedisAddress(host="db", port=7000, db=3)),
        ("redis://db:7000/", RedisAddress(host="db", port=7000)),
        ("rediss://:p%40ss@db", RedisAddress(host="db", password="p@ss", tls=True)),
        ("redis://me:pw@db", RedisAddress(host="db", username="me", password="pw")),
        ("redis://[::1]:6380", RedisAddress(host="::1", port=6380)),
        (
            "redis+sentinel://me:p%40ss@s1:1,s2/main/2",
            RedisAddress(
                db=2,
                username="me",
                password="p@ss",
                sentinels=(("s1", 1), ("s2", 26379)),
                primary="main",
            ),
        ),
        (
            "rediss+sentinel://s1/main",
            RedisAddress(tls=True, sentinels=(("s1", 26379),), primary="main"),
        ),
        ("unix:///run/redis.sock", RedisAddress(unix_path="/run/redis.sock")),
        ("unix://:pw@/run/r.sock", RedisAddress(unix_path="/run/r.sock", password="pw")),
    ],
)
def test_a_url_is_read(url: str, expected: RedisAddress) -> None:
    assert RedisAddress.from_url(url) == expected


@pytest.mark.parametrize(
    "url",
    ["", "db:6379", "http://db", "redis://", "redis://db/one", "redis://db:port", "redis://db:99999",
     "redis://[::1", "unix://", "redis+sentinel://h", "redis+sentinel:///main",
     "redis+sentinel://h/main/x", "redis+other://h/main", "redis+sentinel://h:port/main"],
)  # fmt: skip
def test_anything_else_is_one_clear_line(url: str) -> None:
    with pytest.raises(SettingsError, match=r"redis://host:6379/0|host:26379,host") as caught:
        RedisAddress.from_url(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://me:sesame@db:1/2", "unix://:sesame@/run/r.sock"])
def test_the_password_is_never_shown(url: str) -> None:
    address = RedisAddress.from_url(url)
    assert address.password == "sesame"
    assert "sesame" not in f"{address!r} {address}"


def test_a_bad_url_does_not_show_its_password() -> None:
    with pytest.raises(SettingsError) as caught:
        RedisAddress.from_url("redis://me:sesame@db/one")
    assert "sesame" not in f"{caught.value!r}"
    assert caught.value.__cause__ is None
