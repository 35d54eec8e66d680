"""A picture per video of a run: input, matte and cut-out on a checkerboard, some frames across.

python -m birefnet_batch.contact_sheet OUTPUT
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from birefnet_batch.backdrop import parse_colour
from birefnet_batch.errors import BirefnetBatchError, ConfigError
from birefnet_batch.exit_status import OK, WRONG_USE, while_read
from birefnet_batch.output_files import MANIFEST
from birefnet_batch.result_lines import manifest_lines
from birefnet_batch.results import JobRecord, read_record
from birefnet_batch.settings import Alpha
from birefnet_batch.storage.local_store import LocalStore
from birefnet_batch.uris import is_local, local_path
from birefnet_batch.video.reader import FrameReader

Pixels = NDArray[np.uint8]
_ROWS = ("input", "matte", "cut-out")
_MARGIN, _LABEL = 8, 64


@dataclass(frozen=True)
class _Picked:
    image: Pixels
    """Over black where the file has alpha."""
    alpha: Pixels | None
    """(H, W), the file's own."""


@dataclass(frozen=True)
class _Column:
    index: int
    tiles: tuple[Pixels, Pixels, Pixels]


def make_contact_sheets(output: Path, *, columns: int = 6, tile_width: int = 240) -> list[Path]:
    """Draw a sheet for each video of a run that succeeded with a mask and has a local source and a whole record.

    Args:
        output: the run's output folder.
        columns: frames across, spread evenly from the first to the last.
        tile_width: pixels of each picture.

    Returns:
        The PNG files, in `<output>/contact_sheets/`.

    Raises:
        ConfigError: the folder is no output of a run.
        InputError: a video of it cannot be read.
        OutputError: a record of it cannot be read.
        OSError: a sheet cannot be written.
    """
    store = LocalStore(output)
    manifest = store.get(MANIFEST)
    if manifest is None:
        raise ConfigError(f"{output} has no manifest.jsonl; give the output folder of a run")
    sheets = []
    for line in manifest_lines(manifest):
        record = read_record(store, line.job_id) if line.status == "succeeded" else None
        if record is None or not {"video", "mask_video"} <= record.outputs.keys() or not is_local(record.source.uri):
            continue
        sheet = output / "contact_sheets" / f"{record.job_id}.png"
        sheet.parent.mkdir(exist_ok=True)
        _sheet(record, output, columns, tile_width).save(sheet)
        sheets.append(sheet)
    return sheets


def _sheet(record: JobRecord, output: Path, columns: int, tile_width: int) -> Image.Image:
    frames = record.source.frames or 1
    wanted = sorted({round(index * (frames - 1) / max(1, columns - 1)) for index in range(columns)})
    media = record.media
    bounds = {"timeout_s": media["decode_timeout_s"], "memory_bytes": media["decode_memory_bytes"]}
    # What the run left out of the source has no number in the results.
    read = {"corrupt": media["corrupt_frames"], "deinterlace": media["deinterlace"]}
    source = _pick(local_path(record.source.uri), wanted, **bounds, **read)
    masks = _pick(output / record.outputs["mask_video"], wanted, **bounds)
    video = _pick(output / record.outputs["video"], wanted, **bounds)
    drawn = [
        _Column(index, (shot.image, mask.image, _on_checkerboard(cut_out, mask.image, media)))
        for index, shot, mask, cut_out in zip(wanted, source, masks, video, strict=True)
    ]
    height, width = drawn[0].tiles[0].shape[:2]
    tile = (tile_width, max(1, round(tile_width * height / width)))
    size = (
        _LABEL + len(drawn) * (tile[0] + _MARGIN) + _MARGIN,
        _MARGIN + len(_ROWS) * (tile[1] + _MARGIN) + 2 * _MARGIN,
    )
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, name in enumerate(_ROWS):
        draw.text((_MARGIN, _MARGIN + row * (tile[1] + _MARGIN) + tile[1] // 2), name, "black")
    for position, column in enumerate(drawn):
        left = _LABEL + _MARGIN + position * (tile[0] + _MARGIN)
        for row, pixels in enumerate(column.tiles):
            picture = Image.fromarray(pixels).resize(tile, Image.Resampling.BOX)
            sheet.paste(picture, (left, _MARGIN + row * (tile[1] + _MARGIN)))
        draw.text((left, size[1] - 2 * _MARGIN), f"frame {column.index}", "black")
    return sheet


def _pick(path: Path, wanted: list[int], **how: Any) -> list[_Picked]:
    """The wanted frames, read as `FrameReader` is told; the last one stands in for those that a file no longer has."""
    found: dict[int, _Picked] = {}
    last: _Picked | None = None
    with FrameReader(path, **how) as reader:
        for frame in reader:
            if frame.index in wanted:
                alpha = None if frame.alpha is None else frame.alpha.copy()
                last = found[frame.index] = _Picked(frame.image.copy(), alpha)
            frame.release()
            if frame.index >= wanted[-1]:
                break
    if last is None:
        raise ConfigError(f"{path} has no frame {wanted[0]}; the file is not the one that the run read")
    return [found.get(index, last) for index in wanted]


def _on_checkerboard(cut_out: _Picked, mask: Pixels, media: dict[str, Any]) -> Pixels:
    """Lay the subject over a checkerboard: out + (1 - alpha) * (checker - background), where that is a colour.

    A transparent file was read over black, with its own alpha, which may be coarser than the mask.
    """
    shown: NDArray[Any] = cut_out.image
    height, width = shown.shape[:2]
    square = max(8, width // 32)
    rows, cols = np.ogrid[:height, :width]
    checker = np.where((rows // square + cols // square) % 2, 200, 245)[..., None]
    clear = media["background"] == "none"
    own = cut_out.alpha if clear else None
    alpha = (mask[..., :1] if own is None else own[..., None]).astype(np.float32) / 255
    if clear:
        background = np.zeros(3, np.float32)
        if media["alpha"] == Alpha.premultiplied.name:
            # Colours that were multiplied already were taken for straight ones.
            shown = shown / np.maximum(alpha, 1 / 255)
    else:
        try:
            background = np.array(parse_colour(str(media["background"])), np.float32)
        except ConfigError:
            # Over a picture, a video or a blur the result is shown as it is.
            return cut_out.image
    shown = shown + (1 - alpha) * (checker - background)
    pixels: Pixels = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
    return pixels


def main() -> int:
    """Draw the sheets of the output named on the command line and print their paths."""
    return while_read(_main)


def _main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m birefnet_batch.contact_sheet OUTPUT", file=sys.stderr)
        return WRONG_USE
    try:
        sheets = make_contact_sheets(Path(sys.argv[1]))
    except (BirefnetBatchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USE
    for sheet in sheets:
        print(sheet)
    return OK


if __name__ == "__main__":
    sys.exit(main())
