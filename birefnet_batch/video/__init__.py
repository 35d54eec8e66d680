"""Read and write videos: codecs, pixel formats, time stamps, audio, colour."""
