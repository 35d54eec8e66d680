"""Results on a disk: fsync and rename."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from birefnet_batch.errors import OutputError, OutputLostError
from birefnet_batch.refusals import named_reason, system_reason
from birefnet_batch.storage.durable import rename_durably
from birefnet_batch.storage.scratch import SCRATCH
from birefnet_batch.storage.stores import Store

# What passes when somebody makes room, and may do for a smaller file.
_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))


class LocalStore(Store):
    """A folder; temporary files are made in its `.scratch`, so that a rename gives them their final names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shown = str(root)
        self.staging = root / SCRATCH
        """Where small files are written first; the output sets it to its run's own folder."""

    def uri(self, relative: str) -> str:
        """See `Store`."""
        return (self.root / relative).as_uri()

    def put_file(self, source: Path, relative: str, content_type: str = "") -> None:
        """See `Store`."""
        target = self.root / relative
        try:
            rename_durably(source, target)
        except OSError as error:
            raise OutputError(f"{target} cannot be written: {named_reason(error)}") from None

    def put(self, relative: str, content: bytes) -> None:
        """See `Store`."""
        self.put_file(self._staged(relative, content), relative)

    def create(self, relative: str, content: bytes) -> bool:
        """See `Store`."""
        staged, target = self._staged(relative, content), self.root / relative
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _create(staged, target)
        except FileExistsError:
            return False
        except OSError as error:
            raise OutputError(f"{target} cannot be written: {named_reason(error)}") from None
        finally:
            # What stays goes with the run's scratch folder.
            with suppress(OSError):
                staged.unlink()
        return True

    def get(self, relative: str) -> bytes | None:
        """See `Store`."""
        path = self.root / relative
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise OutputError(f"{path} cannot be read: {named_reason(error)}") from None

    def version(self, relative: str) -> str | None:
        """See `Store`."""
        try:
            facts = (self.root / relative).stat()
        except OSError:
            return None
        return f"{facts.st_ino}-{facts.st_size}-{facts.st_mtime_ns}"

    def remove(self, relative: str) -> None:
        """See `Store`."""
        path = self.root / relative
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path} cannot be removed: {system_reason(error)}") from None
        if path.parent != self.root:
            # As in a bucket: a folder is there as long as it has files.
            with suppress(OSError):
                path.parent.rmdir()

    def names(self, folder: str) -> list[str]:
        """See `Store`."""
        try:
            return sorted(entry.name for entry in os.scandir(self.root / folder) if not entry.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OutputError(f"{self.root / folder} cannot be read: {named_reason(error)}") from None

    def walk(self, folder: str) -> Iterator[tuple[str, str]]:
        """See `Store`."""
        try:
            for entry in os.scandir(self.root / folder):
                with suppress(NotADirectoryError, FileNotFoundError):
                    for file in os.scandir(entry.path):
                        if not file.is_dir():
                            yield entry.name, file.name
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"{self.root / folder} cannot be read: {named_reason(error)}") from None

    def absence(self) -> str | None:
        """See `Store`."""
        try:
            there = stat.S_ISDIR(self.root.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            there = False
        except OSError as error:
            raise OutputError(f"{self.root} cannot be read: {named_reason(error)}") from None
        return None if there else "there is no such folder; check its name"

    def check_folder(self, folder: str) -> None:
        """See `Store`."""
        for path in (self.staging, self.root / folder):
            try:
                path.mkdir(parents=True, exist_ok=True)
                Path(tempfile.mkdtemp(dir=path)).rmdir()
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    reason = system_reason(error, "mend its rights, or mount its disk so that it can be written")
                    raise OutputLostError(f"Nothing can be written in {path} any more: {reason}") from None

    def prepare(self) -> None:
        """See `Store`: temporary files are in scratch folders, which go with their runs."""

    def _staged(self, relative: str, content: bytes) -> Path:
        staged = self.staging / f"{secrets.token_hex(8)}.tmp"
        try:
            staged.parent.mkdir(parents=True, exist_ok=True)
            staged.write_bytes(content)
        except OSError as error:
            raise OutputError(f"{self.root / relative} cannot be written: {named_reason(error)}") from None
        return staged


def _create(staged: Path, target: Path) -> None:
    """Give a file a name that is free: a link fails where it is taken, on network disks too, and is whole at once.

    Without hard links (FAT and exFAT, many over a network or in front of a bucket) the file is empty for a moment,
    which readers of a lease take for a damaged one.

    Raises:
        FileExistsError: the name is taken.
        OSError: the place cannot be written.
    """
    try:
        target.hardlink_to(staged)
    except FileExistsError:
        raise
    except OSError:
        # Disks without hard links answer anything: EPERM, EIO, EXDEV, EINVAL. One that is broken refuses this as well.
        file = target.open("xb")
        try:
            with file:
                file.write(staged.read_bytes())
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            target.unlink(missing_ok=True)
            raise
