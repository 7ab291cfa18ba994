"""Where the bucket of the blob store is, as one record."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

from blueengine.errors import SettingsError
from blueengine.settings import secrets

ACCESS_KEY: Final = "AWS_ACCESS_KEY_ID"
SECRET_KEY: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - a name
SESSION_TOKEN: Final = "AWS_SESSION_TOKEN"  # noqa: S105 - a name
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")


@dataclass(frozen=True, kw_only=True)
class BucketSettings:
    """A bucket as all processes of one platform use it."""

    bucket: str
    prefix: str = ""
    """Everything is kept below it, so several platforms may share a bucket."""
    endpoint: str = ""
    """``https://host:port`` of what speaks S3; empty: AWS."""
    region: str = ""
    ca_file: str = ""
    """PEM with the authorities to trust; empty: the system's."""
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)

    @classmethod
    def parse(
        cls,
        url: str,
        *,
        endpoint: str,
        region: str,
        ca_file: str,
        environment: Mapping[str, str],
    ) -> Self:
        """Return what a URL ``s3://bucket/prefix`` names, with the credentials that are there.

        Those are ``AWS_ACCESS_KEY_ID`` and its like, in the environment or as mounted files. Where
        there are none, the library finds those of the machine or the pod.

        Raises:
            SettingsError: Something of it is wrong.
        """
        parts = urlsplit(url)
        if parts.scheme != "s3" or not _BUCKET.fullmatch(parts.netloc) or parts.query:
            # not shown whole: somebody may have put a password into it
            raise SettingsError("BLOB_URL must look like s3://bucket or s3://bucket/prefix")
        place = urlsplit(endpoint)
        if endpoint and (place.scheme not in {"http", "https"} or not place.hostname):
            raise SettingsError("BLOB_ENDPOINT must look like https://host or http://host:port")
        if place.username or place.password:
            raise SettingsError(
                f"BLOB_ENDPOINT holds credentials; set {ACCESS_KEY} and {SECRET_KEY} instead"
            )
        found = {
            name: secrets.find(name, environment, default="")
            for name in (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN)
        }
        if bool(found[ACCESS_KEY]) != bool(found[SECRET_KEY]):
            raise SettingsError(f"{ACCESS_KEY} and {SECRET_KEY} must be given together")
        return cls(
            bucket=parts.netloc,
            prefix=parts.path.strip("/"),
            endpoint=endpoint,
            region=region,
            ca_file=ca_file,
            access_key_id=found[ACCESS_KEY],
            secret_access_key=found[SECRET_KEY],
            session_token=found[SESSION_TOKEN],
        )

    def __str__(self) -> str:
        """Where it is, without credentials."""
        url = f"s3://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")
        return f"{url} at {self.endpoint}" if self.endpoint else url
