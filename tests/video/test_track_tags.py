"""Language, title and disposition of sound and subtitles survive, as far as each container carries them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from video_clips import convert

pytestmark = pytest.mark.skipif(
    which("ffprobe") is None or which("ffmpeg") is None,
    reason="ffmpeg and ffprobe, the second reader, are not installed",
)

SUFFIX = {"X264 (.mp4)": ".mp4", "VP9 (.webm)": ".webm", "PRORES4444 (.mov)": ".mov"}
LANGUAGES = ["deu", "swe", "fra", "zho"]
TITLES = ["Originalton", "Kommentar", None, "Für Gehörlose"]
SAID = "1\n00:00:00,100 --> 00:00:00,300\nHallo\n"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three tracks of sound, of which the second is the default, and forced subtitles; in Matroska and in MP4."""
    folder = tmp_path_factory.mktemp("tracks")
    (folder / "said.srt").write_text(SAID)
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=96x64:rate=25:duration=0.4"]
    command += ["-f", "lavfi", "-i", "sine=duration=0.4", "-i", str(folder / "said.srt")]
    command += ["-map", "0", "-map", "1", "-map", "1", "-map", "1", "-map", "2"]
    for number, (language, title) in enumerate(zip(LANGUAGES, TITLES, strict=True), 1):
        command += [f"-metadata:s:{number}", f"language={language}", f"-metadata:s:{number}", f"title={title or ''}"]
    command += ["-disposition:1", "0", "-disposition:2", "default+comment", "-disposition:3", "visual_impaired"]
    command += ["-disposition:4", "default+forced+hearing_impaired"]
    made = {}
    for name, codec in {"clip.mkv": "subrip", "clip.mp4": "mov_text"}.items():
        made[name] = folder / name
        subprocess.run([*command, "-c:s", codec, str(made[name])], check=True)
    return made


def tracks_of(path: Path) -> list[dict[str, Any]]:
    command = ["ffprobe", "-v", "warning", "-show_streams", "-of", "json", str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    found = [item for item in json.loads(run.stdout)["streams"] if item["codec_type"] in ("audio", "subtitle")]
    assert len(found) == len(LANGUAGES)
    return found


@pytest.mark.parametrize("output_type", SUFFIX)
@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4"])
def test_ffprobe_finds_languages_titles_and_dispositions(
    name: str, output_type: str, sources: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / f"out{SUFFIX[output_type]}"
    assert convert(sources[name], path, output_type=output_type).notes == ()
    tracks = tracks_of(path)
    assert [track["tags"].get("language") for track in tracks] == LANGUAGES
    # ffprobe 5 shows the handler's name of MP4 and MOV, and not the title beside it.
    shown = "title" if path.suffix == ".webm" else "handler_name"
    assert [
        title if title and not title.endswith("Handler") else None
        for title in (track["tags"].get(shown) for track in tracks)
    ] == TITLES

    def flagged(flag: str) -> list[int]:
        return [track["disposition"][flag] for track in tracks]

    assert flagged("default") == [0, 1, 0, 1]
    if path.suffix != ".mov":
        assert flagged("forced") == [0, 0, 0, 1]
    if path.suffix == ".mp4":
        assert flagged("comment") == [0, 1, 0, 0]
        assert flagged("visual_impaired") == [0, 0, 1, 0]
        assert flagged("hearing_impaired") == [0, 0, 0, 1]
    if path.suffix != ".webm":
        assert all(title.encode() in path.read_bytes() for title in TITLES if title)
