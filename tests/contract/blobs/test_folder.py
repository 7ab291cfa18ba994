"""The suite against a folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from blueengine.transport.blobs import BlobFolder, BlobsAwayError, BlobStore
from tests.contract.blobs.suite import BlobContract


class TestFolder(BlobContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return BlobFolder(tmp_path)

    @pytest.fixture
    def everything(self, tmp_path: Path) -> Callable[[], list[str]]:
        return lambda: [
            str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()
        ]


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(BlobsAwayError, match="cannot be written to: No such file"):
        BlobFolder(tmp_path / "nowhere").check()
