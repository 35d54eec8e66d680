"""Fetches the material and writes the caches; runs in data/demo_model/tools, which has pybullet and OpenEXR."""

from demo_model import backgrounds, sources, subjects


def main() -> None:
    sources.fetch()
    subjects.prepare()
    backgrounds.prepare()


if __name__ == "__main__":
    main()
