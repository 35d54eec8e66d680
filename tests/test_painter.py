"""What stands behind the subject: colours, pictures, videos, the source out of focus."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
import torch
from clips import make_clip, read_frames
from PIL import Image
from test_pipeline import task_for
from ycbcr import hdr_file

from birefnet_batch.backdrop import Backdrop, Kind
from birefnet_batch.device_streams import DeviceStreams
from birefnet_batch.errors import ConfigError, InputError
from birefnet_batch.finishing import Finishing
from birefnet_batch.matting import tone
from birefnet_batch.matting.tone import from_sdr
from birefnet_batch.painter import Painter, blurred, covering
from birefnet_batch.segment_task import Batch, SegmentTask
from birefnet_batch.video.info import BT709, BT2020, HLG, PQ
from birefnet_batch.video.reader import FrameReader

STREAMS = DeviceStreams(torch.device("cpu"))
FRAMES = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))


def painted(
    backdrop: Backdrop,
    times: list[int],
    base: Fraction = Fraction(1, 25),
    transfer: int = BT709,
    primaries: int = BT709,
) -> list[torch.Tensor]:
    with Painter(backdrop, STREAMS, base, 20, transfer, primaries) as painter:
        return [painter.paint(FRAMES, [at]) for at in times]


def test_a_colour_is_that_colour() -> None:
    (found,) = painted(Backdrop("colour", (255, 0, 51)), [0])
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, 0.2]))


def test_a_picture_covers_the_frame_and_keeps_its_shape(tmp_path: Path) -> None:
    pixels = np.zeros((100, 400, 3), np.uint8)
    pixels[:, 150:250] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    (found,) = painted(Backdrop("picture", path=tmp_path / "wide.png"), [0])
    assert found.shape == (1, 3, 48, 64)
    red = found[0, 0] > 0.5
    # A square of the picture is a square on the frame, in the middle.
    assert red.all(dim=0).sum() == pytest.approx(48, abs=1)
    assert red[:, 31:33].all()


def test_transparency_of_a_picture_is_black_and_its_orientation_is_followed(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (64, 48), (255, 255, 255, 0))
    picture.save(tmp_path / "clear.png")
    (found,) = painted(Backdrop("picture", path=tmp_path / "clear.png"), [0])
    assert found.abs().max() == 0
    turned = Image.new("RGB", (48, 64), "black")
    turned.paste("white", (0, 0, 24, 64))
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    (found,) = painted(Backdrop("picture", path=tmp_path / "turned.jpg"), [0])
    assert found[0, :, :20].min() > 0.9
    assert found[0, :, 28:].max() < 0.1


def test_a_video_goes_on_with_time_and_begins_again_at_its_end(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "behind.mp4", frames=5, size=(64, 48))
    images = read_frames(clip).images
    # Every 20 ms of a source with 50 frames a second: each frame of the clip is shown twice.
    found = painted(Backdrop("video", path=clip), list(range(14)), Fraction(1, 50))
    for index, picture in enumerate(found):
        wanted = torch.from_numpy(images[index // 2 % 5].copy()).permute(2, 0, 1)[None].float() / 255
        assert (picture - wanted).abs().mean() < 0.01, index


def test_a_video_of_a_segment_is_where_the_whole_would_be(tmp_path: Path) -> None:
    backdrop = Backdrop("video", path=make_clip(tmp_path / "behind.mp4", frames=5, size=(64, 48)))
    assert torch.equal(painted(backdrop, [7])[0], painted(backdrop, list(range(8)))[7])


@pytest.mark.parametrize("frames", [1, 3])
def test_no_more_rounds_of_a_short_video_are_decoded_than_are_seen(
    frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "behind.mp4", frames=frames, size=(64, 48))
    backdrop = Backdrop("video", path=clip)
    late = 25 * 3600 * frames
    wanted = painted(backdrop, list(range(2 * frames)))
    opened: list[Path] = []
    begin = FrameReader.__init__
    monkeypatch.setattr(
        FrameReader, "__init__", lambda self, path, **rest: opened.append(path) or begin(self, path, **rest)
    )
    times = [*range(frames), *range(late, late + 2 * frames)]
    for at, found in zip(times, painted(backdrop, times), strict=True):
        assert torch.equal(found, wanted[at % frames])
    assert len(opened) == (1 if frames == 1 else 3)


# A grey of 78 cd/m2 in PQ, and HLG's half, 50.7 cd/m2 on a display of 1000; SDR's white is 203.
LEVELS = {
    "smpte2084": {BT709: (78 / 203) ** (1 / 2.4), PQ: 0.4833, HLG: 0.5844},
    "arib-std-b67": {BT709: (50.7 / 203) ** (1 / 2.4), PQ: 0.4416, HLG: 0.5},
}


def hdr_png(path: Path, trc: str, level: float) -> Path:
    """A grey picture of 16 bits."""
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb48be"
        grey = np.full((48, 64, 3), round(level * 65535), np.uint16)
        frame = av.VideoFrame.from_ndarray(grey, format="rgb48le").reformat(format="rgb48be")
        frame.color_primaries, frame.color_trc = BT2020, {"smpte2084": PQ, "arib-std-b67": HLG}[trc]
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("kind", ["video", "picture"])
@pytest.mark.parametrize("trc", LEVELS)
def test_a_high_dynamic_range_is_brought_to_the_light_of_the_made_video(
    trc: str, kind: Literal["video", "picture"], tmp_path: Path
) -> None:
    if kind == "video":
        path = hdr_file(tmp_path / "behind.mkv", trc, bits=10)
    else:
        path = hdr_png(tmp_path / "behind.png", trc, 0.4833 if trc == "smpte2084" else 0.5)
    for transfer, wanted in LEVELS[trc].items():
        primaries = BT709 if transfer == BT709 else BT2020
        (found,) = painted(Backdrop(kind, path=path), [0], transfer=transfer, primaries=primaries)
        assert found.shape == (1, 3, 48, 64)
        assert (found - wanted).abs().max() < 1.5 / 255, transfer


@pytest.mark.parametrize("kind", ["colour", "picture", "video"])
def test_what_stays_is_brought_to_the_light_once(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(tone, "from_sdr", lambda picture, *rest: calls.append(1) or from_sdr(picture, *rest))
    if kind == "picture":
        Image.new("RGB", (64, 48), "white").save(tmp_path / "behind.png")
    path = {"picture": tmp_path / "behind.png", "video": tmp_path / "behind.mp4"}.get(kind)
    if kind == "video":
        make_clip(tmp_path / "behind.mp4", frames=2, size=(64, 48))
    # 25 frames a second behind 100: each is shown four times.
    painted(Backdrop(kind, (255, 255, 255), path), list(range(8)), Fraction(1, 100), PQ, BT2020)
    assert len(calls) == (2 if kind == "video" else 1)


def test_a_blur_keeps_the_light_and_loses_the_detail() -> None:
    frames = torch.zeros(1, 3, 256, 256)
    frames[..., ::2] = 1
    soft = blurred(frames)
    torch.testing.assert_close(soft.mean(), torch.tensor(0.5), atol=0.01, rtol=0)
    assert soft.std() < 0.02
    step = torch.zeros(1, 3, 256, 256)
    step[..., 128:] = 1
    across = blurred(step)[0, 0, 128]
    assert (across.diff() >= -1e-6).all()
    assert across.diff().max() < 0.1


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (47, 63)])
def test_frames_of_any_size_can_be_blurred_and_covered(size: tuple[int, int]) -> None:
    assert blurred(torch.rand(1, 3, *size)).shape == (1, 3, *size)
    assert covering(torch.rand(1, 3, 30, 40), torch.Size(size)).shape == (1, 3, *size)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ConfigError, match=r"text.png cannot be read as a picture"):
        painted(Backdrop("picture", path=tmp_path / "text.png"), [0])


def finished(task: SegmentTask, size: tuple[int, int] = (64, 96)) -> torch.Tensor:
    """The picture (H, W, 3) that is made of one frame without a subject."""
    mattes = torch.zeros(1, 1, *size)
    batch = Batch(torch.zeros(1, *size, 3, dtype=torch.uint8), [(0, 1)], STREAMS.moment(), mattes=mattes)
    batch.begun = STREAMS.moment()
    with Finishing(task, STREAMS) as finishing:
        return next(finishing.of([batch])).images["video"][0]


def test_a_video_behind_the_subject_is_decoded_in_the_memory_that_is_set(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=2, size=(64, 48))
    task = replace(task_for(clip, tmp_path), backdrop=Backdrop("video", path=clip), refine_foreground=False)
    assert finished(task).float().mean() > 10
    with pytest.raises(InputError, match="takes more than 1000 bytes"):
        finished(replace(task, decode_memory_bytes=1000))


@pytest.mark.parametrize(("size", "shape"), [((576, 720), "64/45"), ((720, 576), "45/64")])
def test_a_circle_is_shown_as_one_where_the_source_s_pixels_are_not_square(
    size: tuple[int, int], shape: str, tmp_path: Path
) -> None:
    rows, columns = np.mgrid[:576, :1024]
    circle = (rows - 288) ** 2 + (columns - 512) ** 2 < 100**2
    path = tmp_path / "circle.png"
    Image.fromarray(circle.astype(np.uint8) * 255).save(path)
    task = task_for(make_clip(tmp_path / "clip.mp4", frames=2, size=(64, 48)), tmp_path)
    info = replace(task.info, sample_aspect_ratio=Fraction(shape))
    task = replace(task, info=info, backdrop=Backdrop("picture", path=path), refine_foreground=False)
    seen = finished(task, size)[..., 0] > 127
    down, across = int(seen.any(dim=1).sum()), int(seen.any(dim=0).sum())
    assert across * float(Fraction(shape)) == pytest.approx(down, abs=2)
    if shape == "64/45":
        # The frame is 16:9 as the picture is: nothing is cut off.
        assert down == pytest.approx(199, abs=2)


def test_a_video_of_pixels_that_are_not_square_is_shown_in_its_shape(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:96, :64]
    # Twice as wide as they are high.
    circle = (rows - 48) ** 2 + (2 * (columns - 32)) ** 2 < 30**2
    with av.open(str(tmp_path / "behind.mov"), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 96, "gray"
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(circle.astype(np.uint8) * 255, format="gray")))
        container.mux(stream.encode(None))
    (found,) = painted(Backdrop("video", path=tmp_path / "behind.mov"), [0])
    seen = found[0, 0] > 0.5
    assert int(seen.any(dim=0).sum()) == pytest.approx(int(seen.any(dim=1).sum()), abs=2)


def test_a_shape_that_no_camera_makes_takes_no_more_memory() -> None:
    picture = torch.rand(1, 3, 30, 40)
    for shape, most in ((1e6, 4), (1e-6, 0.25)):
        assert torch.equal(
            covering(picture, torch.Size((48, 64)), shape), covering(picture, torch.Size((48, 64)), most)
        )


@pytest.mark.parametrize(("sides", "wider"), [((30, 20), 1.0), ((20, 30), 1.0), ((256, 7), 1.0), ((40, 40), 4.0)])
def test_an_enlarged_picture_is_the_middle_of_the_whole_scaled(sides: tuple[int, int], wider: float) -> None:
    picture = torch.rand(1, 3, *sides, generator=torch.Generator().manual_seed(0))
    height, width = sides[0], sides[1] * wider
    scale = max(48 / height, 64 / width)
    whole = (round(height * scale), round(width * scale))
    scaled = torch.nn.functional.interpolate(picture, size=whole, mode="bilinear", antialias=True)
    top, left = (whole[0] - 48) // 2, (whole[1] - 64) // 2
    found = covering(picture, torch.Size((48, 64)), wider)
    torch.testing.assert_close(found, scaled[..., top : top + 48, left : left + 64], rtol=0, atol=1e-4)


def test_a_narrow_picture_takes_no_more_memory_than_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    interpolate = torch.nn.functional.interpolate

    def watched(picture: torch.Tensor, **how: Any) -> torch.Tensor:
        made.append(interpolate(picture, **how))
        return made[-1]

    monkeypatch.setattr(torch.nn.functional, "interpolate", watched)
    for sides in ((256, 1), (1, 256)):
        assert covering(torch.rand(1, 3, *sides), torch.Size((480, 640))).shape == (1, 3, 480, 640)
    assert [tuple(picture.shape[2:]) for picture in made] == [(480, 640)] * 2
