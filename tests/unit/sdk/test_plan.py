"""Who writes and reads a channel."""

from blueengine.wire import plan
from tests.kit.builders import a_plan


def test_writers_and_readers_of_a_chain() -> None:
    chain = a_plan(["a", "b"])
    assert plan.readers(chain, "In") == ["n1"]
    assert plan.writers(chain, "In") == []
    assert plan.writers(chain, "Ch1") == ["n1"]
    assert plan.readers(chain, "Ch1") == ["n2"]
    assert plan.readers(chain, "Out") == []
    assert plan.readers(chain, "nowhere") == []
