"""No media file counts as written of which a disk has said, at whatever moment, that it has not taken all."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from birefnet_batch.storage.written_file import WrittenFile

# What a network disk over its quota does: writes are taken, and closing the file says that its end is lost.
_DISK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int close(int file) {
    int (*closed)(int) = dlsym(RTLD_NEXT, "close");
    const char *lost = getenv("LOST_AT");
    char link[64], path[PATH_MAX] = "";
    struct stat facts;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    if (lost && readlink(link, path, sizeof path - 1) > 0 && strstr(path, lost)
        && (fcntl(file, F_GETFL) & O_ACCMODE) != O_RDONLY && !fstat(file, &facts) && facts.st_size
        && !ftruncate(file, facts.st_size * 4 / 5)) {
        closed(file);
        errno = EDQUOT;
        return -1;
    }
    return closed(file);
}
"""
_WRITES = """
import json, os, sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
import numpy as np
from birefnet_batch.errors import BirefnetBatchError
from birefnet_batch.video.encode import EncodeSpec, open_part
from birefnet_batch.video.formats import FORMATS
from birefnet_batch.video.join import join_parts

pictures = np.random.default_rng(0).integers(0, 256, (6, 64, 96, 3), np.uint8)
for form in FORMATS.values():
    spec = EncodeSpec(form.output_type, "high", "fast", 96, 64, Fraction(1, 25), Fraction(25), None, 1)
    for lost in ("first.part", "joined"):
        folder = Path(sys.argv[1]) / form.muxer / lost
        folder.mkdir(parents=True)
        os.environ["LOST_AT"] = f"{form.muxer}/{lost}/{lost}"
        parts = [folder / "first.part", folder / "second.part"][:1 + form.joinable]
        try:
            for number, part in enumerate(parts):
                with open_part(part, spec, "video") as writer:
                    for pts in range(3 * number, 3 * number + 3):
                        writer.write(pictures[pts], pts, 1)
            join_parts(parts, folder / "joined", spec, end=3 * len(parts), audio_from=None, timeout_s=60)
            said = "written"
        except BirefnetBatchError as error:
            said = f"{type(error).__name__}: {str(error).replace(str(folder), '')}"
        print(json.dumps([form.muxer, lost, said, (folder / lost).exists()]))
"""


def test_a_file_whose_closing_is_refused_is_an_error_that_names_it_in_every_type(tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    (tmp_path / "disk.c").write_text(_DISK)
    disk = tmp_path / "disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", disk, tmp_path / "disk.c", "-ldl"], check=True)
    done = subprocess.run(
        [sys.executable, "-c", _WRITES, str(tmp_path)],
        env={**os.environ, "LD_PRELOAD": str(disk)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {(muxer, lost): (said, there) for muxer, lost, said, there in map(json.loads, done.stdout.splitlines())}
    expected = {
        (muxer, lost): (f"OutputError: /{lost} cannot be written: disk quota exceeded", False)
        for muxer in ("mp4", "webm", "mov", "gif")
        for lost in ("first.part", "joined")
    }
    # Its frames wait in a file beside it; its part is not joined, but given another name.
    expected["gif", "first.part"] = ("OutputError: /first.part.frames cannot be written: disk quota exceeded", False)
    expected["gif", "joined"] = ("written", True)
    assert {key: (said[: len(expected[key][0])], there) for key, (said, there) in found.items()} == expected


def test_of_a_disk_that_takes_half_of_what_is_written_that_is_an_error_and_closing_repeats_it(tmp_path: Path) -> None:
    file = WrittenFile(tmp_path / "file")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system writes up to the limit, says how much that was, and refuses the rest alone.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            file.write(b"x" * 1500)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    file.seek(0)
    file.write(b"y")
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        file.close()
    file.close()
    assert (tmp_path / "file").read_bytes() == b"y" + b"x" * 999
