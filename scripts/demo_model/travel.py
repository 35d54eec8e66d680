"""Packs the material for a training on a machine without a network, as some with a GPU are, and unpacks it there.

    PYTHONPATH=scripts .venv/bin/python -m demo_model.travel pack material.zip      # minutes; where it was rendered
    PYTHONPATH=scripts python3 -m demo_model.travel unpack material.zip             # there; needs numpy and pillow
    PYTHONPATH=scripts OMP_NUM_THREADS=1 python3 -m demo_model.train --minutes 8 --validate-every 1

Pictures are WebP: alpha is the same, colours are off by 0.7 of 255 on average. 1.5 GB become some 45 MB.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from demo_model.paths import CACHE


def pack(path: Path) -> None:
    """Write the rendered material to a file."""
    names = (CACHE / "subjects.json").read_text()
    subjects, backgrounds = np.load(CACHE / "subjects.npy", mmap_mode="r"), np.load(CACHE / "backgrounds.npz")
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("subjects.json", names)
        for index, picture in enumerate(subjects):
            made.writestr(f"subjects/{index:05}", _coded(picture))
        for name in backgrounds.files:
            made.writestr(f"backgrounds/{name}", _coded(backgrounds[name]))


def unpack(path: Path) -> None:
    """Write what `pack` wrote where the training looks for it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path) as given:

        def pictures(folder: str, mode: str) -> dict[str, np.ndarray]:
            names = [name for name in given.namelist() if name.startswith(f"{folder}/")]
            # Of one without a transparent pixel the file has no alpha.
            opened = ((name, Image.open(io.BytesIO(given.read(name))).convert(mode)) for name in names)
            return {name.partition("/")[2]: np.asarray(picture) for name, picture in opened}

        # In their order: they are drawn by number.
        np.save(CACHE / "subjects.npy", np.stack(list(pictures("subjects", "RGBA").values())))
        np.savez(CACHE / "backgrounds.npz", **pictures("backgrounds", "RGB"))
        (CACHE / "subjects.json").write_bytes(given.read("subjects.json"))


def _coded(picture: np.ndarray) -> bytes:
    made = io.BytesIO()
    Image.fromarray(picture).save(made, "WEBP", quality=90, method=4)
    return made.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pack", "unpack"))
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    (pack if options.what == "pack" else unpack)(options.file)


if __name__ == "__main__":
    main()
