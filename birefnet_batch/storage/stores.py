"""A folder of results on disk or in a bucket, behind one interface; a file appears in it whole or not at all."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from birefnet_batch.errors import ConfigError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.uri_schemes import BUCKET_SCHEMES, scheme_of
from birefnet_batch.uris import check_path, user_path
from birefnet_batch.url_redaction import redact


class Store(ABC):
    """Names below it are relative paths with forward slashes."""

    shown: str
    """The location, fit for files and logs."""

    @abstractmethod
    def uri(self, relative: str) -> str:
        """The absolute URI of a file, whether it is there or not."""

    @abstractmethod
    def put_file(self, source: Path, relative: str, content_type: str) -> None:
        """Give a finished local file its final name; on a disk the source is gone afterwards.

        Raises:
            OutputError: it cannot be written; nothing new is visible then.
        """

    @abstractmethod
    def put(self, relative: str, content: bytes) -> None:
        """Write a small file whole, replacing the one that is there.

        Raises:
            OutputError: it cannot be written.
        """

    @abstractmethod
    def create(self, relative: str, content: bytes) -> bool:
        """Write a small file if there is none of that name; False when there is. Of several callers one wins.

        Raises:
            OutputError: it cannot be written.
        """

    @abstractmethod
    def get(self, relative: str) -> bytes | None:
        """A file's content; None where there is none.

        Raises:
            OutputError: it cannot be read.
        """

    @abstractmethod
    def version(self, relative: str) -> str | None:
        """What is another one once a file has been written anew; None where there is no file, or none can be told.

        Raises:
            OutputError: it cannot be asked.
        """

    @abstractmethod
    def remove(self, relative: str) -> None:
        """Remove a file if it is there.

        Raises:
            OutputError: it cannot be removed.
        """

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder, sorted; none where it does not exist."""

    @abstractmethod
    def walk(self, folder: str) -> Iterator[tuple[str, str]]:
        """(subfolder, file name) of every file one level below a folder, without opening any."""

    def folders_with(self, folder: str, name: str) -> list[str]:
        """The subfolders of a folder that have a file of that name, sorted."""
        return sorted({subfolder for subfolder, found in self.walk(folder) if found == name})

    @abstractmethod
    def absence(self) -> str | None:
        """What to tell a person when the folder or the bucket itself does not exist; None when it does.

        Raises:
            OutputError: that cannot be told.
        """

    @abstractmethod
    def check_folder(self, folder: str) -> None:
        """Make sure that something new can still be written below a folder, unless it is only room that is lacking.

        Raises:
            OutputLostError: nothing can, whatever its name.
        """

    @abstractmethod
    def prepare(self) -> None:
        """Abort what killed uploads left invisible; to be called by the holder of the lease alone."""


def open_store(location: str, settings: StorageSettings) -> Store:
    """The store at a path, a file:// URI or a bucket's URL.

    Raises:
        ConfigError: no such place can hold results.
    """
    from birefnet_batch.storage.bucket_store import BucketStore
    from birefnet_batch.storage.local_store import LocalStore

    scheme = scheme_of(location)
    if scheme in BUCKET_SCHEMES:
        return BucketStore(location, settings)
    if scheme not in ("", "file"):
        raise ConfigError(
            f"output is {redact(location)!r}; give a folder, a file:// URI, or an s3://, gs:// or az:// location"
        )
    check_path(location, ConfigError)
    # Without `..`, whatever the working folder: the results' URLs are made of it.
    return LocalStore(Path(os.path.normpath(user_path(location).absolute())))
