"""Which blob store the settings name."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from blueengine.errors import SettingsError
from blueengine.settings.blobs import BucketSettings
from blueengine.settings.system import SystemSettings
from blueengine.transport.blobs import BlobFolder, BlobStore

if TYPE_CHECKING:
    from blueengine.transport.blobs_s3 import BlobBucket


def store_of(
    settings: SystemSettings, environment: Mapping[str, str], *, patience: float
) -> BlobStore | None:
    """Return the blob store that gateway, management and engines share, if they have one.

    Raises:
        SettingsError: It cannot be used as it is set.
    """
    if bucket := settings.bucket(environment):
        return bucket_of(bucket, patience=patience)
    return BlobFolder(Path(settings.blob_dir)) if settings.blob_dir else None


def bucket_of(settings: BucketSettings, *, patience: float) -> "BlobBucket":
    """Return a bucket as a blob store; what speaks to it is imported now, for those who use it.

    Raises:
        SettingsError: It is not installed, or cannot use these settings.
    """
    try:
        from blueengine.transport.blobs_s3 import BlobBucket
    except ImportError as exc:
        raise SettingsError(
            f"BLOB_URL is set, but {exc.name} is missing; pip install 'blueengine[s3]'"
        ) from exc
    return BlobBucket(settings, patience=patience)
