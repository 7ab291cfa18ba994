"""A short, seeded run of the fuzzer; ``make test-fuzz`` is the long one."""

from pathlib import Path

import pytest

from tests.kit import fuzz


@pytest.mark.timeout(300)
def test_no_request_made_from_the_document_breaks_the_gateway(tmp_path: Path) -> None:
    code, told = fuzz.fuzz(tmp_path, examples=3, phases="fuzzing,stateful")
    assert code == 0, told + (tmp_path / "log").read_text()[-5000:]
    assert fuzz.cases(told) > 100, told
