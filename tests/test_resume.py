"""Which jobs are complete already, and what is said of those that cannot be told for sure."""

from __future__ import annotations

from pathlib import Path

import pytest

from birefnet_batch import resume
from birefnet_batch.jobs import Job, marker
from birefnet_batch.request import Request
from birefnet_batch.settings import Settings
from birefnet_batch.storage import Output, SourceFacts


@pytest.mark.parametrize(
    ("fingerprint", "warned"),
    [
        ("size=8351;unversioned", True),
        ('size=8351;etag="one"', False),
        ("size=8351;last-modified=Sat, 28 Nov 2026 05:00:00 GMT", False),
        ("size=8351;mtime_ns=5", False),
    ],
)
def test_a_source_whose_change_would_not_be_seen_is_skipped_with_a_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fingerprint: str,
    warned: bool,
) -> None:
    job = Job.from_request(Request("https://h/a.mp4?token=very-secret", model="Demo"))
    monkeypatch.setattr(
        resume, "many_source_facts", lambda uris, *_: {uri: SourceFacts(8351, fingerprint) for uri in uris}
    )
    monkeypatch.setattr(Job, "is_complete", lambda *_: True)
    with Output(str(tmp_path), "run") as output:
        output.write(job.file(marker("key")), b"")
        assert resume.split_complete(output, Settings(), [job]) == ([], [job])
    assert ("https://h/a.mp4); that they are unchanged is known by their length alone" in caplog.text) == warned
    assert "very-secret" not in caplog.text
