"""Where programs on the same machine find the embedded Redis."""

from pathlib import Path

import pytest

from apps.local.redis_server import UNIX_PATH_BYTES, _config, _unix_path


def test_its_socket_is_in_the_data_folder_for_its_owner_alone(tmp_path: Path) -> None:
    path = _unix_path(tmp_path)
    assert path == str(tmp_path.resolve() / "redis.sock")
    config = _config(tmp_path, 6379, "secret", path).splitlines()
    assert f"unixsocket {path}" in config
    assert "unixsocketperm 700" in config


@pytest.mark.parametrize("name", ["x" * UNIX_PATH_BYTES, "a b", "50%", "what?", 'say"'])
def test_a_folder_whose_name_no_socket_can_have_is_reached_over_tcp(
    tmp_path: Path, name: str
) -> None:
    assert _unix_path(tmp_path / name) == ""
    assert "unixsocket" not in _config(tmp_path / name, 6379, "secret", "")
