"""More than 8 bits, and a high dynamic range, from a file to a file."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from pathlib import Path
from shutil import which

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange
from numpy.typing import NDArray
from test_colour import tags
from test_picture import BARS
from video_clips import Clip, convert, make
from ycbcr import TAGS, Planes, coefficients, hdr_file, to_ycbcr, write_planes

from birefnet_batch import Request, Settings, run
from birefnet_batch.settings import MediaSettings
from birefnet_batch.video.dither import dithered
from birefnet_batch.video.encode import EncodeSpec, open_part
from birefnet_batch.video.formats import PRORES, VP9
from birefnet_batch.video.info import split
from birefnet_batch.video.picture import Picture
from birefnet_batch.video.probe import probe
from birefnet_batch.video.reader import FrameReader

WIDTH, HEIGHT = 2048, 32
needs_ffmpeg = pytest.mark.skipif(which("ffmpeg") is None, reason="ffmpeg, the judge of the values, is not installed")


def ramps() -> Planes:
    """Greys above, red against blue below, saturated bars between; (H, W, 3) in [0, 255]."""
    ramp = np.linspace(0, 255, WIDTH)
    image = np.zeros((HEIGHT, WIDTH, 3))
    image[: HEIGHT // 2] = ramp[:, None]
    image[HEIGHT // 2 : HEIGHT * 3 // 4] = BARS[np.arange(WIDTH) * 8 // WIDTH]
    image[HEIGHT * 3 // 4 :, :, 0], image[HEIGHT * 3 // 4 :, :, 2] = ramp, ramp[::-1]
    return image


def coloured_bars() -> Planes:
    """Bars of 32 pixels, of full, three quarters' and little saturation, and greys; (H, W, 3) in [0, 255]."""
    colours = np.concatenate([BARS, BARS * 0.75, BARS * 0.5 + 40, BARS[:1] * np.linspace(0, 1, 40)[:, None]])
    return np.repeat(np.repeat(colours[None], HEIGHT, axis=0), WIDTH // len(colours), axis=1)


def judged(path: Path, bits: int, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> NDArray[np.uint16]:
    """The first frame's planes (3, H, W) in so many bits, as FFmpeg's program decodes them."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-frames:v", "1", "-f", "rawvideo"]
    raw = subprocess.run([*command, "-pix_fmt", f"yuv444p{bits}le", "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, "<u2").reshape(3, *shape)


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", ["bt709", "bt2020nc"])
def test_wide_values_are_read_exactly(matrix: str, full: bool, tmp_path: Path) -> None:
    planes = to_ycbcr(ramps(), matrix, full, bits=10)
    range_tag = {"colorspace": matrix, "color_range": "pc" if full else "tv"}
    path = write_planes(tmp_path / "ramps.mkv", planes, {**TAGS, **range_tag}, bits=10)
    with FrameReader(path, wide=True) as reader:
        assert (reader.info.bits, reader.info.hdr) == (10, None)
        image = next(iter(reader)).image.astype(np.float64) / 65535
    kr, kb, scale, offset, spread = coefficients(matrix, full)
    # Of full range, 10 bits are 0 to 1023 and not 0 to 1020 (H.273, equations 26 to 31).
    top = 1023 / 255 if full else 4
    luma = (planes[0] / top - offset) / scale
    blue, red = (luma + (2 - 2 * k) * (plane - 512) / (spread * top) for k, plane in ((kb, planes[1]), (kr, planes[2])))
    exact = np.clip(np.stack([red, (luma - kr * red - kb * blue) / (1 - kr - kb), blue], axis=-1), 0, 1)
    assert np.abs(image - exact).max() * 1023 <= 0.5


@pytest.mark.parametrize("wide", [True, False], ids=["16 bits", "8 bits"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("bits", [10, 12])
def test_saturated_colours_of_subsampled_chroma_are_read_exactly(
    bits: int, full: bool, wide: bool, tmp_path: Path
) -> None:
    planes = to_ycbcr(coloured_bars(), "bt709", full, bits)
    tags = {**TAGS, "color_range": "pc" if full else "tv"}
    path = write_planes(tmp_path / "bars.mkv", planes, tags, bits, subsampling="420")
    with FrameReader(path, wide=wide) as reader:
        read = next(iter(reader)).image.astype(np.float64)
    difference = read / (65535 if wide else 255) - coloured_bars() / 255
    assert np.abs(difference[HEIGHT // 2, 16::32]).max() <= (1.5 / 1023 if wide else 0.75 / 255)


@needs_ffmpeg
def test_saturated_colours_of_subsampled_chroma_come_through_prores(tmp_path: Path) -> None:
    planes = to_ycbcr(coloured_bars(), "bt709", False, bits=10)
    source = write_planes(tmp_path / "bars.mkv", planes, TAGS, bits=10, subsampling="420")
    convert(source, tmp_path / "out.mov", output_type=PRORES.output_type, quality="maximum", wide=True)
    assert np.abs(judged(tmp_path / "out.mov", 10) - np.stack(planes))[:, HEIGHT // 2, 16::32].max() <= 2


@pytest.mark.parametrize(("codec", "pix_fmt"), [("ffv1", "gbrp10le"), ("ffv1", "rgb48le"), ("ffv1", "rgba64le")])
def test_white_and_opaque_are_the_largest_value_whatever_the_format(codec: str, pix_fmt: str, tmp_path: Path) -> None:
    path = tmp_path / "white.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, pix_fmt
        white = av.VideoFrame.from_ndarray(np.full((16, 32, 4), 65535, np.uint16), format="rgba64le")
        container.mux(stream.encode(white.reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    with FrameReader(path, wide=True) as reader:
        frame = next(iter(reader))
        assert frame.image.min() == 65535
        assert frame.alpha is None or frame.alpha.min() == 65535


def grey_ramp(pix_fmt: str, tag: str | None) -> tuple[av.VideoFrame, NDArray[np.float64]]:
    """From black to white by the tag (none: full range), opaque; and the levels (256,) in [0, 1] that it means."""
    bits, channels = int("".join(filter(str.isdigit, pix_fmt)) or 8), 2 if pix_fmt.startswith("ya") else 1
    black, white = (16 << bits - 8, 235 << bits - 8) if tag == "tv" else (0, 2**bits - 1)
    ramp = np.rint(np.linspace(black, white, 256))
    values = np.full((16, 256, channels), 2**bits - 1, np.uint8 if bits == 8 else np.uint16)
    values[..., 0] = ramp
    frame = av.VideoFrame(256, 16, pix_fmt)
    np.frombuffer(memoryview(frame.planes[0]), values.dtype).reshape(16, -1)[:] = values.reshape(16, -1)
    if tag is not None:
        frame.color_range = ColorRange.MPEG if tag == "tv" else ColorRange.JPEG
    return frame, (ramp - black) / (white - black)


@pytest.mark.parametrize("wide", [True, False], ids=["16 bits", "8 bits"])
@pytest.mark.parametrize("tag", ["tv", "pc", None])
@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le", "gray12le", "gray16le", "ya8", "ya16le"])
def test_grey_is_converted_by_its_range(pix_fmt: str, tag: str | None, wide: bool) -> None:
    frame, exact = grey_ramp(pix_fmt, tag)
    white = 65535 if wide else 255
    picture = Picture(frame, wide)
    memory = np.empty(256 * 16 * (4 if picture.alpha else 3) * (2 if wide else 1), np.uint8)
    picture.write(frame, memory)
    image, _ = split(memory, 256, 16, wide)
    assert np.abs(image - (exact * white)[:, None]).max() <= 0.51


@pytest.mark.parametrize("tag", ["tv", "pc"])
def test_a_grey_video_is_read_by_its_range_tag(tag: str, tmp_path: Path) -> None:
    frame, exact = grey_ramp("gray10le", tag)
    path = tmp_path / "grey.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, options={"color_range": tag})
        stream.width, stream.height, stream.pix_fmt = 256, 16, "gray10le"
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with FrameReader(path) as reader:
        image = next(iter(reader)).image
    assert np.abs(image - (exact * 255)[:, None]).max() <= 0.51


@needs_ffmpeg
def test_ten_bits_stay_ten_bits_through_prores(tmp_path: Path) -> None:
    planes = to_ycbcr(ramps(), "bt709", False, bits=10)
    source = write_planes(tmp_path / "ramps.mkv", planes, TAGS, bits=10)
    convert(source, tmp_path / "out.mov", output_type=PRORES.output_type, quality="maximum", wide=True)
    made = judged(tmp_path / "out.mov", 10)
    assert np.abs(made - np.stack(planes)).max() <= 1
    assert len(np.unique(made[0, : HEIGHT // 2])) == 940 - 64 + 1


@pytest.mark.parametrize("value", [0, 1, 500 * 64 + 48, 940 * 64, 65535])
def test_dithered_areas_keep_their_mean_and_black_and_white_stay(value: int) -> None:
    frame = av.VideoFrame(70, 37, "yuva444p16le")
    for plane in frame.planes:
        np.frombuffer(memoryview(plane), "<u2")[:] = value
    made = dithered(frame, "yuva444p10le")
    for plane in made.planes:
        values = np.frombuffer(memoryview(plane), "<u2").reshape(37, -1)[:, :70]
        assert values[:32, :64].mean() == pytest.approx(min(value / 64, 1023), abs=1e-9)
        assert values.max() - values.min() <= 1


@needs_ffmpeg
def test_twelve_bits_come_within_a_value_of_ten(tmp_path: Path) -> None:
    planes = to_ycbcr(ramps(), "bt709", False, bits=12)
    source = write_planes(tmp_path / "ramps.mkv", planes, TAGS, bits=12)
    path = tmp_path / "out.mov"
    convert(source, path, output_type=PRORES.output_type, quality="maximum", wide=True, dither=True)
    assert np.abs(judged(path, 10) - np.stack(planes) / 4).max() <= 1.5


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
@needs_ffmpeg
def test_a_high_dynamic_range_is_mapped_for_8_bits_and_kept_by_prores(transfer: str, tmp_path: Path) -> None:
    source = hdr_file(tmp_path / "hdr.mkv", transfer, bits=12)
    asked = {"video_url": str(source), "model": "demo", "operating_resolution": 256, "refine_foreground": False}
    requests = [Request.from_dict({**asked, "video_output_type": form.output_type}) for form in (VP9, PRORES)]
    assert run(Settings(output=str(tmp_path / "out")), requests).succeeded == 2
    for path in (tmp_path / "out" / "jobs").glob("*/job.json"):
        record = json.loads(path.read_text())
        notes = " ".join(record["notes"])
        video = tmp_path / "out" / record["outputs"]["video"]
        found = tags(video)
        if record["request"]["video_output_type"] == PRORES.output_type:
            assert "it was kept, with its tags" in notes
            assert "12 bits a component: they were dithered to 10" in notes
            assert (found["color_primaries"], found["color_transfer"]) == ("bt2020", transfer)
        else:
            assert "tone-mapped to BT.709" in notes
            assert (found["color_primaries"], found["color_transfer"]) == ("bt709", "bt709")


@needs_ffmpeg
@pytest.mark.parametrize(("transfer", "white"), [("smpte2084", 0.5807), ("arib-std-b67", 0.75)])
def test_what_is_behind_a_high_dynamic_range_is_laid_at_its_reference_white(
    transfer: str, white: float, tmp_path: Path
) -> None:
    source = hdr_file(tmp_path / "hdr.mkv", transfer, bits=10)
    asked = {"model": "demo", "operating_resolution": 256, "refine_foreground": False, "output_mask": True}
    request = Request.from_dict({**asked, "video_url": str(source), "video_output_type": PRORES.output_type})
    settings = Settings(output=str(tmp_path / "out"), media=MediaSettings(background="white"))
    assert run(settings, [request]).succeeded == 1
    video, mask = (next((tmp_path / "out").glob(f"jobs/*/{name}.mov")) for name in ("hdr", "hdr_mask"))
    (luma, *_), (matte, *_) = (judged(path, 10, (48, 64)) for path in (video, mask))
    # A grey frame has no subject: what is seen is nearly all white, and a little of the grey.
    share = (matte.astype(float) - 64) / 876
    assert share.max() < 0.3
    wanted = white + share * ((0.4833 if transfer == "smpte2084" else 0.5) - white)
    assert np.abs(luma - (64 + 876 * wanted)).max() <= 4


def test_a_mask_of_prores_has_ten_bits(tmp_path: Path) -> None:
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16
    spec = EncodeSpec(PRORES.output_type, "maximum", "fast", 64, 64, Fraction(1, 25), Fraction(25), None, 1)
    with open_part(tmp_path / "mask.part", spec, "mask") as writer:
        writer.write(ramp, 0, 1)
    with FrameReader(tmp_path / "mask.part", wide=True) as reader:
        read = next(iter(reader)).image[..., 0].astype(float)
    # A code value of rounding, and one of the codec's own.
    assert np.abs(read - ramp).max() <= 2 * 65535 / 876
    assert len(np.unique(read)) > 800


@pytest.mark.parametrize(
    ("said", "peak"),
    [("max-cll=2000,300", 2000.0), ("max-cll=0,0", 4000.0), ("", None)],
    ids=["level", "display", "none"],
)
def test_the_brightest_light_is_read_from_the_metadata(said: str, peak: float | None, tmp_path: Path) -> None:
    display = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(40000000,50)"
    parameters = f"log-level=none:{display}:{said}" if said else "log-level=none"
    options = {
        "x265-params": parameters,
        "color_trc": "smpte2084",
        "color_primaries": "bt2020",
        "colorspace": "bt2020nc",
    }
    source = make(tmp_path / "clip.mp4", Clip(frames=3, codec="libx265", pix_fmt="yuv420p10le", options=options))
    assert probe(source).peak == peak
