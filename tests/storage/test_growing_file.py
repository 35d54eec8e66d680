"""Files that are read while they are fetched, and files that only look so."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from http_site import CONTENT, SETTINGS, SHA256, Site

from birefnet_batch.errors import InputError, OutputError
from birefnet_batch.storage import open_source, source_facts
from birefnet_batch.storage.growing_file import BLOCK, open_file
from birefnet_batch.video.reader import FrameReader


@pytest.mark.parametrize("beside", ["", "not ours", "folder"])
def test_a_local_file_is_read_whatever_its_name_and_whatever_stands_beside_it(tmp_path: Path, beside: str) -> None:
    path = tmp_path / f"{'n' * (200 if beside else 251)}.mp4"
    path.write_bytes(CONTENT[:5000])
    if beside == "folder":
        Path(f"{path}.blocks").mkdir()
    elif beside:
        Path(f"{path}.blocks").write_text(beside)
    with open_file(os.fsencode(path)) as file:
        assert file.read() == CONTENT[:5000]


def test_the_end_of_a_file_can_be_read_while_its_middle_is_on_its_way(site: Site, tmp_path: Path) -> None:
    facts = source_facts(site.url, SETTINGS)
    site.behave("cut", "stall")
    site.stall_s = 1.0
    with open_source(site.url, facts, tmp_path, replace(SETTINGS, timeout_s=30)) as source:
        with open_file(os.fsencode(source.path)) as file:
            assert file.read(1000) == CONTENT[:1000]
            file.seek(-500, os.SEEK_END)
            site.behave("good")
            assert file.read() == CONTENT[-500:]
            site.stalled.set()
            file.seek(5 * BLOCK - 10)
            assert file.read(20) == CONTENT[5 * BLOCK - 10 : 5 * BLOCK + 10]
        assert source.sha256() == SHA256


def test_a_reader_of_a_file_that_fails_ends_and_the_transfer_says_why(site: Site, tmp_path: Path) -> None:
    facts = source_facts(site.url, SETTINGS)
    site.behave("cut", "404")
    with (
        pytest.raises(InputError, match="404"),
        open_source(site.url, facts, tmp_path, SETTINGS) as source,
        open_file(os.fsencode(source.path)) as file,
    ):
        file.seek(5 * BLOCK)
        try:
            file.read(1)
        except OSError as error:
            raise InputError(f"{source.path} cannot be read: {error}") from None


def test_a_decoder_reads_a_file_that_is_still_on_its_way_the_index_at_its_end_first(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "noise.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        noise = np.random.default_rng(0)
        for _ in range(60):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 255, (240, 320, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    site.content = path.read_bytes()
    last = (len(site.content) - 1) // BLOCK
    assert last >= 5
    facts = source_facts(site.url, SETTINGS)
    site.behave("halting")
    (tmp_path / "scratch").mkdir()
    with open_source(site.url, facts, tmp_path / "scratch", replace(SETTINGS, timeout_s=0.5)) as source:
        with FrameReader(source.path) as reader:
            frames = sum(1 for frame in reader if frame.release() is None)
        assert source.sha256() == hashlib.sha256(site.content).hexdigest()
    assert frames == 60
    assert f"bytes={last * BLOCK}-" in site.asked, "the end was not asked for by itself"


@pytest.mark.parametrize("number", [errno.ENODEV, errno.EPERM])
def test_scratch_space_whose_files_cannot_be_mapped_is_told_with_what_helps(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As that of FUSE file systems with direct_io, and of fusefat."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(mmap, "mmap", refuse)
    told = f"Files in {tmp_path} cannot be mapped into memory: {os.strerror(number).lower()}; give storage.scratch="
    facts = source_facts(site.url, SETTINGS)
    with pytest.raises(OutputError, match=told), open_source(site.url, facts, tmp_path, SETTINGS):
        pass
