"""Settings of the gateway: from a file and the environment, wrong ones told in one line."""

import socket
from pathlib import Path

import pytest

from apps.restful.main import listen, main
from apps.restful.settings import RestfulSettings
from blueengine.errors import SettingsError


def test_defaults_are_for_one_machine() -> None:
    settings = RestfulSettings.load({})
    assert (settings.host, settings.port, settings.max_wait) == ("127.0.0.1", 8080, 60.0)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "services.yml"
    file.write_text("SYSTEM: {REDIS_PORT: 7000}\nRESTFUL: {PORT: 9000, MAX_WAIT: 5}\n")
    settings = RestfulSettings.load({"BLUEEDGE_CFG": str(file), "RESTFUL_PORT": "9001"})
    assert (settings.port, settings.max_wait, settings.system.redis_port) == (9001, 5.0, 7000)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_may_be_listened_on(host: str) -> None:
    assert RestfulSettings.load({"RESTFUL_HOST": host}).host == host


BEYOND = ["0.0.0.0", "::", "192.168.0.1", "example.com", ""]


@pytest.mark.parametrize("host", BEYOND)
def test_keys_are_needed_beyond_loopback(host: str) -> None:
    assert RestfulSettings.load({"RESTFUL_HOST": host}).keys_needed
    assert RestfulSettings.load({"RESTFUL_HOST": host, "RESTFUL_AUTH": "on"}).keys_needed


@pytest.mark.parametrize("host", BEYOND)
def test_to_be_open_beyond_loopback_is_refused_unless_it_is_said_in_so_many_words(
    host: str,
) -> None:
    asked = {"RESTFUL_HOST": host, "BLUEENGINE_AUTH": "off"}
    with pytest.raises(SettingsError, match="RESTFUL_SERVE_ANYONE_WITHOUT_KEYS=true"):
        RestfulSettings.load(asked)
    said = {"RESTFUL_SERVE_ANYONE_WITHOUT_KEYS": "true"}
    assert not RestfulSettings.load(asked | said).keys_needed
    # the words alone turn nothing off
    assert RestfulSettings.load({"RESTFUL_HOST": host} | said).keys_needed


def test_loopback_is_open_unless_keys_are_asked_for(tmp_path: Path) -> None:
    assert not RestfulSettings.load({}).keys_needed
    assert RestfulSettings.load({"BLUEENGINE_AUTH": "on"}).keys_needed
    assert not RestfulSettings.load({"BLUEENGINE_AUTH": "on", "RESTFUL_AUTH": "off"}).keys_needed
    file = tmp_path / "services.yml"
    file.write_text("RESTFUL: {AUTH: on}\n")
    assert RestfulSettings.load({"BLUEEDGE_CFG": str(file)}).keys_needed


def test_a_word_that_says_neither_on_nor_off_is_refused() -> None:
    with pytest.raises(SettingsError, match="on, off or auto"):
        RestfulSettings.load({"BLUEENGINE_AUTH": "yes please"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "x"), ("PORT", "70000"), ("MAX_BODY", "0"), ("TTL", "-1"), ("MAX_WAIT", "-1")],
)
def test_a_wrong_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"RESTFUL_{name}"):
        RestfulSettings.load({f"RESTFUL_{name}": value})


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "services.yml"
    file.write_text("RESTFUL: {PROT: 9000}\n")
    with pytest.raises(SettingsError, match=r"unknown RESTFUL\.PROT"):
        RestfulSettings.load({"BLUEEDGE_CFG": str(file)})


def test_a_port_that_is_taken_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}"):
            listen(RestfulSettings.load({"RESTFUL_PORT": str(port)}))
        monkeypatch.setenv("RESTFUL_PORT", str(port))
        assert main() == 1
    said = capsys.readouterr().err.splitlines()
    assert len([line for line in said if line.startswith("restful: ")]) == 1
    assert "RESTFUL_PORT" in said[-1]


def test_the_placement_of_all_sessions_may_be_set() -> None:
    environment = {"RESTFUL_PLACEMENT_POLICY": "pack", "RESTFUL_PLACEMENT_NEAR": "zone"}
    settings = RestfulSettings.load(environment)
    assert (settings.placement_policy, settings.placement_near) == ("pack", "zone")


@pytest.mark.parametrize("name", ["POLICY", "NEAR"])
def test_an_unknown_placement_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"RESTFUL_PLACEMENT_{name} is 'tight'"):
        RestfulSettings.load({f"RESTFUL_PLACEMENT_{name}": "tight"})
