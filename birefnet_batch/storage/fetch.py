"""Fetch a remote input to a local file in a thread of its own, the parts that a reader waits for first."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from birefnet_batch.errors import BirefnetBatchError, InputError, OutputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.backoff import Cancelled, Retries
from birefnet_batch.storage.facts import SourceFacts
from birefnet_batch.storage.growing_file import BLOCK, Blocks
from birefnet_batch.storage.remote import PassingError, Remote
from birefnet_batch.storage.scratch import unwritable
from birefnet_batch.url_redaction import redact

# A wanted block this near ahead comes by itself; each jump is a request.
_NEAR = 4
# What a connection must bring for its end not to count as another failure in a row: a few bytes before each silence
# would keep a worker for days.
_WORTH_ANOTHER_TRY = 1 << 16
Told = Callable[[int, int | None], None]


class Fetch:
    """A transfer; a context that ends it and removes its files.

    Inside, `path` can be opened at once with `growing_file.open_file`, unless the server does not say how long the
    file is: then entering waits for all of it.

    Args:
        uri: the input, for messages.
        remote: where it comes from.
        facts: which version of it.
        target: the file to make.
        settings: limits and retries.
        told: called with the bytes that are there and the full length.

    Raises:
        InputError: the file is larger than it may be.
        OutputError: there is no room for it, or it cannot be written.
    """

    def __init__(
        self, uri: str, remote: Remote, facts: SourceFacts, target: Path, settings: StorageSettings, told: Told
    ) -> None:
        self.path = target
        self.error: BirefnetBatchError | None = None
        """Why the transfer failed."""
        self._shown = redact(uri)
        self._remote = remote
        self._facts = facts
        self._limit = settings.max_input_bytes
        self._stop = threading.Event()
        self._retries = Retries(self._shown, settings.max_retries, self._stop)
        self._told = told
        self._count = self._since_failure = 0
        self._sha256: str | None = None
        self._blocks: Blocks | None = None
        self._thread = threading.Thread(target=self._run, name="fetch-source", daemon=True)
        if facts.size is not None and facts.size > self._limit:
            raise self._too_large()

    def __enter__(self) -> Fetch:
        size = self._facts.size
        try:
            self._check_room(size or 0)
            with self.path.open("wb") as file:
                file.truncate(size or 0)
            if size is not None:
                self._blocks = Blocks(self.path, size)
        except OSError as error:
            raise unwritable(error) from None
        self._thread.start()
        if size is None:
            try:
                self.sha256()
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for path in (self.path, Path(f"{self.path}.blocks")):
            path.unlink(missing_ok=True)

    def cancel(self) -> None:
        """End the transfer as soon as may be; who waits for it gets an error."""
        self._stop.set()

    def sha256(self) -> str:
        """The content's digest in hex; waits until all of it is there.

        Raises:
            BirefnetBatchError: the transfer failed.
        """
        self._thread.join()
        if self.error is not None:
            raise self.error
        assert self._sha256 is not None
        return self._sha256

    def _run(self) -> None:
        try:
            if self._blocks is None:
                self._fetch_to_the_end()
            else:
                self._fetch_blocks(self._blocks)
            self._confirm()
            with self.path.open("rb") as file:
                self._sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except Cancelled:
            self.error = InputError(f"{self._shown} was not fetched to its end: nobody waited for it")
        except BirefnetBatchError as error:
            self.error = error
        except OSError as error:
            self.error = unwritable(error)
        except Exception as error:
            self.error = InputError(f"{self._shown} cannot be fetched: unexpected {type(error).__name__}: {error}")
        if self.error is not None and self._blocks is not None:
            self._blocks.fail()

    def _fetch_blocks(self, blocks: Blocks) -> None:
        size = self._facts.size
        assert size is not None
        block, held = -1, bytearray()
        with self.path.open("r+b") as file:
            while (following := self._next(blocks)) is not None:
                # Of a connection that drops within a block nothing is asked for twice.
                if following != block:
                    block, held = following, bytearray()
                try:
                    with closing(self._remote.read(block * BLOCK + len(held), self._facts)) as chunks:
                        for chunk in chunks:
                            self._look_up()
                            self._came(len(chunk))
                            held += chunk
                            while len(held) >= (length := min(BLOCK, size - block * BLOCK)) > 0:
                                file.seek(block * BLOCK)
                                file.write(held[:length])
                                file.flush()
                                del held[:length]
                                blocks.add(block)
                                self._arrived(length)
                                block += 1
                            if block * BLOCK >= size or self._elsewhere(blocks, block):
                                break
                except PassingError as error:
                    self._failed(error)

    def _next(self, blocks: Blocks) -> int | None:
        """The block to go on with: one that a reader waits for, where any can be asked for; None when all are there."""
        wanted = blocks.wanted if self._facts.ranges else None
        return blocks.first_missing() if wanted is None else wanted

    def _elsewhere(self, blocks: Blocks, block: int) -> bool:
        """Whether to leave the stream that is at `block`: the next ones are there, or others are waited for."""
        if not self._facts.ranges:
            return False
        wanted = blocks.wanted
        return blocks.has(block) or (wanted is not None and not block <= wanted < block + _NEAR)

    def _fetch_to_the_end(self) -> None:
        """Without a length nothing tells a whole file from a cut one but a regular end of the stream."""
        furthest = 0
        while True:
            try:
                with self.path.open("wb") as file:
                    count = 0
                    for chunk in self._remote.read(0, self._facts):
                        self._look_up()
                        count += len(chunk)
                        # What an earlier try had brought already is no headway.
                        self._came(max(0, count - furthest))
                        furthest = max(furthest, count)
                        if count > self._limit:
                            raise self._too_large()
                        if count % (64 * BLOCK) < len(chunk):
                            self._check_room(len(chunk))
                        file.write(chunk)
                        self._arrived(len(chunk))
                return
            except PassingError as error:
                self._count = 0
                self._failed(error)

    def _confirm(self) -> None:
        while True:
            self._look_up()
            try:
                self._remote.confirm(self._facts)
            except PassingError as error:
                self._failed(error)
            else:
                return

    def _came(self, count: int) -> None:
        self._since_failure += count
        if self._since_failure >= _WORTH_ANOTHER_TRY:
            self._retries.succeeded()

    def _failed(self, error: PassingError) -> None:
        self._since_failure = 0
        self._retries.failed(error)

    def _arrived(self, count: int) -> None:
        self._count += count
        self._told(self._count, self._facts.size)

    def _look_up(self) -> None:
        if self._stop.is_set():
            raise Cancelled

    def _check_room(self, needed: int) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if needed > free:
            raise OutputError(
                f"{self._shown} needs {needed} bytes of scratch space and {self.path.parent} has {free}; make room, or "
                "give storage.scratch=FOLDER on a larger disk"
            )

    def _too_large(self) -> InputError:
        size = "" if self._facts.size is None else f" ({self._facts.size} bytes)"
        return InputError(
            f"{self._shown} is larger{size} than storage.max_input_bytes={self._limit}; raise the setting if that is "
            "wanted"
        )
