"""Keys in memory: what is trusted for how long, and how often a key may come."""

import os
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.restful.service.access import FRESH_SECONDS, Keys
from apps.restful.service.errors import TooManyError, UnauthorizedError
from apps.restful.service.rate import Bucket
from blueengine.errors import StoreAwayError
from blueengine.wire.access import KeyRecord, Scope, digest, from_fields, id_of, is_tenant, new_key


@dataclass
class Time:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return self.now


@dataclass
class FakeStore:
    """Keys in a dict; counts how often it is asked."""

    records: dict[str, KeyRecord] = field(default_factory=dict)
    asked: int = 0
    away: bool = False
    in_between: object = None

    def add(self, **changes: object) -> str:
        key_id, key = new_key(os.urandom)
        facts = {"tenant": "acme", "scopes": frozenset({Scope.READ}), "digest": digest(key)}
        self.records[key_id] = KeyRecord(id=key_id, **(facts | changes))  # type: ignore[arg-type]
        return key

    async def find(self, key_id: str) -> KeyRecord | None:
        self.asked += 1
        if self.away:
            raise StoreAwayError("away")
        found = self.records.get(key_id)
        if callable(self.in_between):
            self.in_between()
            self.in_between = None
        return found

    def note_use(self, record: KeyRecord, now: float) -> None:
        pass

    def change(self, key: str, **changes: object) -> None:
        key_id = str(id_of(key))
        self.records[key_id] = msgspec.structs.replace(self.records[key_id], **changes)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def keys(store: FakeStore, time: Time) -> Keys:
    return Keys(store, time)  # type: ignore[arg-type]


async def test_a_key_is_looked_up_once_while_it_is_fresh(
    keys: Keys, store: FakeStore, time: Time
) -> None:
    key = store.add()
    for _ in range(100):
        assert (await keys.who(key)).tenant == "acme"
    assert store.asked == 1
    time.now += FRESH_SECONDS + 1
    await keys.who(key)
    assert store.asked == 2


async def test_a_revoked_key_is_refused_when_word_comes_and_without_word_soon(
    keys: Keys, store: FakeStore, time: Time
) -> None:
    key = store.add()
    await keys.who(key)
    store.change(key, revoked=1)
    assert (await keys.who(key)).tenant == "acme"  # no word yet
    keys.forget(str(id_of(key)))
    with pytest.raises(UnauthorizedError, match="is revoked"):
        await keys.who(key)
    other = store.add()
    await keys.who(other)
    store.change(other, revoked=1)
    time.now += FRESH_SECONDS + 0.1
    with pytest.raises(UnauthorizedError, match="is revoked"):
        await keys.who(other)


async def test_word_that_comes_while_a_key_is_looked_up_is_not_lost(
    keys: Keys, store: FakeStore
) -> None:
    key = store.add()

    def revoke() -> None:
        store.change(key, revoked=1)
        keys.forget(str(id_of(key)))

    store.in_between = revoke
    with pytest.raises(UnauthorizedError, match="is revoked"):
        await keys.who(key)


async def test_a_key_expires_to_the_second_without_a_look(
    keys: Keys, store: FakeStore, time: Time
) -> None:
    key = store.add(expires=int((time.now + 3) * 1e6))
    await keys.who(key)
    time.now += 2.9
    await keys.who(key)
    time.now += 0.1
    with pytest.raises(UnauthorizedError, match="is expired"):
        await keys.who(key)
    assert store.asked == 1


async def test_the_right_id_with_a_wrong_secret_is_nobody(keys: Keys, store: FakeStore) -> None:
    key = store.add(rate=1.0)
    await keys.who(key)
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    for _ in range(5):
        with pytest.raises(UnauthorizedError, match="not known"):
            await keys.who(wrong)  # and it takes nothing from the rate of the right one


@pytest.mark.parametrize(
    "key", ["", "x", "be_short_x", "be_" + "a" * 56, "be_abcdefghijkl_" + "é" * 43]
)
async def test_what_is_no_key_is_refused_without_a_look(
    keys: Keys, store: FakeStore, key: str
) -> None:
    with pytest.raises(UnauthorizedError, match="no API key"):
        await keys.who(key)
    assert store.asked == 0


async def test_a_look_that_fails_leaves_nothing_that_is_trusted(
    keys: Keys, store: FakeStore, time: Time
) -> None:
    key = store.add()
    await keys.who(key)
    time.now += FRESH_SECONDS + 1
    store.away = True
    for _ in range(2):
        with pytest.raises(StoreAwayError):
            await keys.who(key)


async def test_a_rate_is_kept_and_says_when_to_come_back(
    keys: Keys, store: FakeStore, time: Time
) -> None:
    key = store.add(rate=2.0)
    await keys.who(key)
    await keys.who(key)
    with pytest.raises(TooManyError) as caught:
        await keys.who(key)
    assert caught.value.retry_after == pytest.approx(0.5)
    time.now += 0.5
    await keys.who(key)
    keys.forget(str(id_of(key)))  # whoever changes a key does not fill its bucket…
    await keys.who(key)  # …unless it is forgotten altogether


@given(rate=st.floats(0.1, 1000), steps=st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_a_bucket_never_gives_more_than_its_rate_and_burst(rate: float, steps: list[float]) -> None:
    now, bucket, given_out = 0.0, Bucket(rate, 0.0), 0
    for step in steps:
        now += step
        wait = bucket.take(now)
        given_out += wait == 0
        assert wait <= 1 / rate + 1e-9
        assert given_out <= bucket.burst + rate * now + 1e-6


@given(raw=st.binary(min_size=64, max_size=64))
def test_a_new_key_carries_its_id(raw: bytes) -> None:
    key_id, key = new_key(
        lambda size: (raw + os.urandom(size))[:size] if size < 48 else os.urandom(size)
    )
    assert id_of(key) == key_id
    assert len(key) == len("be_") + 12 + 1 + 43


def test_a_record_is_read_back_from_its_fields_and_later_ones_do_no_harm() -> None:
    record = KeyRecord(
        id="k", tenant="acme", scopes=frozenset({Scope.READ, Scope.SUBMIT}), name="shop, ü=1",
        digest="d", created=5, expires=6, revoked=7, used=8, rate=1.5, max_body=9,
    )  # fmt: skip
    assert from_fields("k", record.fields()) == record
    later = {**record.fields(), "colour": "red", "scopes": "read,submit,fly"}
    assert from_fields("k", later) == record


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("acme", True),
        ("A-1_b", True),
        ("", False),
        ("-a", False),
        ("a b", False),
        ("a" * 64, False),
        ("a:b", False),
        ("é", False),
        ("default", False),  # what is done without a key
    ],
)
def test_a_tenant_has_a_plain_name(name: str, fits: bool) -> None:
    assert is_tenant(name) is fits
