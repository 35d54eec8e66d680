"""The object stores beside S3, each started once, and a local HTTP server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from http_site import Site, running_site
from servers import AZURITE, Cloud, azurite, fake_gcs

from birefnet_batch.storage import backoff


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """fake-gcs-server."""
    with fake_gcs(tmp_path_factory.mktemp("gcs")) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Azurite."""
    if not AZURITE.exists():
        pytest.skip(f"Azurite is not at {AZURITE}; .ci/run installs it where npm can")
    with azurite(tmp_path_factory.mktemp("azurite")) as cloud:
        yield cloud


@pytest.fixture(params=["s3", "gcs", "azure"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    """Each store in turn."""
    found: Cloud = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A local HTTP server, of which nobody waits long to try again."""
    monkeypatch.setattr(backoff, "_FIRST_S", 0.01)
    with running_site() as site:
        yield site
