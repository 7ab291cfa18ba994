"""What management can be told."""

import pytest

from apps.management.settings import ManagementSettings
from blueengine.errors import SettingsError


def test_the_environment_wins() -> None:
    settings = ManagementSettings.load({"SWEEP_SECONDS": "2.5", "REDIS_PORT": "7000"})
    assert settings.sweep_seconds == 2.5
    assert settings.tick_seconds == 0.25
    assert settings.system.redis.port == 7000


@pytest.mark.parametrize("value", ["0", "-1", "soon"])
def test_a_wrong_value_is_named(value: str) -> None:
    with pytest.raises(SettingsError, match="TICK_SECONDS"):
        ManagementSettings.load({"TICK_SECONDS": value})
