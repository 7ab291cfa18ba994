"""Where the platform is: file, environment, and one clear line for each fault."""

from pathlib import Path

import pytest

from blueengine.errors import SettingsError
from blueengine.settings.system import SystemSettings, convert


def load(environment: dict[str, str], text: str | None = None, folder: Path | None = None) -> SystemSettings:  # fmt: skip
    if text is not None:
        assert folder
        file = folder / "comm.yml"
        file.write_text(text)
        environment = {"BLUEEDGE_COMM_CONFIG": str(file), **environment}
    return SystemSettings.load(environment, config_variable="BLUEEDGE_COMM_CONFIG")


def test_the_defaults_are_a_redis_on_this_machine() -> None:
    assert str(load({}).redis) == "127.0.0.1:6379/0"


def test_the_file_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    text = "SYSTEM: {REDIS_ADDRESS: redis, REDIS_PORT: 7000, OF_ANOTHER: k, LOG_LEVEL: debug}"
    settings = load({"REDIS_PORT": "7001"}, text, tmp_path)
    assert (str(settings.redis), settings.log_level) == ("redis:7001/0", "debug")


def test_a_url_wins_over_its_parts() -> None:
    settings = load({"REDIS_URL": "redis://:secret@there:1/2", "REDIS_PORT": "3"})
    assert str(settings.redis) == "there:1/2"
    assert settings.redis.password == "secret"


def test_redis_may_be_found_by_sentinels_and_over_tls(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    settings = load(
        {
            "REDIS_SENTINELS": "s1,s2:7000",
            "REDIS_SENTINEL_PRIMARY": "main",
            "REDIS_SENTINEL_PASSWORD": "theirs",
            "REDIS_USERNAME": "me",
            "REDIS_PASSWORD": "mine",
            "REDIS_TLS": "yes",
            "REDIS_TLS_CA": str(ca),
        }
    )
    assert str(settings.redis) == "main/0 by the Sentinels s1:26379,s2:7000"
    assert settings.redis.sentinels == (("s1", 26379), ("s2", 7000))
    assert (settings.redis.tls, settings.redis.tls_ca) == (True, str(ca))
    assert (settings.redis.username, settings.redis.password) == ("me", "mine")
    assert settings.redis.sentinel_password == "theirs"
    assert "mine" not in repr(settings.redis)
    assert "theirs" not in repr(settings.redis)


def test_files_of_certificates_go_with_a_url_too(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    settings = load({"REDIS_URL": "rediss://there", "REDIS_TLS_CA": str(tmp_path / "ca.pem")})
    assert settings.redis.tls_ca == str(tmp_path / "ca.pem")


@pytest.mark.parametrize("text", ["", "SYSTEM:", "OTHER: {}"])
def test_a_file_may_say_nothing_of_it(tmp_path: Path, text: str) -> None:
    assert load({}, text or "{}", tmp_path) == load({})


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"REDIS_PORT": "x"}, "the environment variable REDIS_PORT is 'x', which is no int"),
        ({"REDIS_PORT": ""}, "the environment variable REDIS_PORT is '', which is no int"),
        ({"REDIS_PORT": "0"}, "REDIS_PORT is 0; it must be 1 to 65535"),
        ({"REDIS_URL": "localhost:6379"}, "the Redis URL must look like redis://host:6379/0"),
        ({"REDIS_TLS_CA": "/no/ca.pem"}, "REDIS_TLS_CA is '/no/ca.pem', which is no file"),
        ({"REDIS_SENTINELS": ":1"}, "':1' must name Sentinels like host:26379,host:26379"),
        ({"HEARTBEAT_SECONDS": "soon"}, "HEARTBEAT_SECONDS is 'soon', which is no float"),
        ({"HEARTBEAT_SECONDS": "0"}, "HEARTBEAT_SECONDS is 0; it must be greater than 0"),
        ({"HEARTBEAT_SECONDS": "-1"}, "HEARTBEAT_SECONDS is -1; it must be greater than 0"),
        ({"HEARTBEAT_TIMEOUT": "nan"}, "HEARTBEAT_TIMEOUT is nan; it must be greater than 0"),
        ({"HEARTBEAT_SECONDS": "3"}, "HEARTBEAT_TIMEOUT must be at least twice HEARTBEAT_SECONDS"),
        ({"PATIENCE_SECONDS": "0"}, "PATIENCE_SECONDS is 0; it must be greater than 0"),
        ({"REDIS_MAX_MESSAGE_BYTES": "9"}, "REDIS_MAX_MESSAGE_BYTES is 9; it must be 131072 to"),
        ({"REDIS_MAX_MESSAGE_BYTES": "600000000"}, "it must be 131072 to 536870912"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL is 'loud'; it must be DEBUG"),
    ],
)
def test_a_fault_is_one_line(environment: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(environment)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_fault_in_the_file_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"comm\.yml: SYSTEM\.REDIS_PORT is \[1\]"):
        load({}, "SYSTEM: {REDIS_PORT: [1]}", tmp_path)
    with pytest.raises(SettingsError, match=r"comm\.yml: SYSTEM must hold names and values"):
        load({}, "SYSTEM: [REDIS_PORT]", tmp_path)
    with pytest.raises(SettingsError, match=r"gone\.yml does not exist"):
        load({"BLUEEDGE_COMM_CONFIG": str(tmp_path / "gone.yml")})


@pytest.mark.parametrize(
    ("raw", "kind", "value"),
    [("yes", bool, True), ("0", bool, False), (True, bool, True), ("7", int, 7), (2.0, int, 2),
     (3, float, 3.0), (5, str, "5")],
)  # fmt: skip
def test_values_are_converted(raw: object, kind: type, value: object) -> None:
    assert convert(raw, kind, "here") == value


@pytest.mark.parametrize(
    ("raw", "kind"),
    [("maybe", bool), (1.5, int), (True, int), (True, float), ({}, str), ([], float), (None, int)],
)
def test_values_that_are_not_of_the_kind_are_refused(raw: object, kind: type) -> None:
    with pytest.raises(SettingsError, match=r"^here is "):
        convert(raw, kind, "here")


def test_where_an_engine_runs_may_be_said() -> None:
    settings = load({"NODE_NAME": "box-1.example", "ZONE": "eu-1a"})
    assert (settings.node_name, settings.zone) == ("box-1.example", "eu-1a")


@pytest.mark.parametrize("name", ["NODE_NAME", "ZONE"])
def test_a_place_is_part_of_a_key_and_so_has_no_spaces_or_colons(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is 'a:b c'"):
        load({name: "a:b c"})
