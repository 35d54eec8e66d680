"""Batches of composites for the training, made ahead by processes of their own where a GPU would wait for them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from demo_model.composites import Library, composite

AHEAD = 4  # batches
Arrays = tuple[np.ndarray, np.ndarray]

_library: Library


@dataclass(frozen=True)
class BatchRecipe:
    """What a batch is of.

    Attributes:
        side: of the pictures, in pixels.
        count: of pictures.
        restyled: the share whose subjects get other colours and surfaces, in [0, 1].
        patterns: the share whose backgrounds are computed, in [0, 1].
    """

    side: int
    count: int
    restyled: float
    patterns: float


def compose(library: Library, rng: Generator, recipe: BatchRecipe, count: int) -> Arrays:
    """Return `count` pictures (count, side, side, 3) uint8 and alphas (count, side, side) float32."""
    library.patterns = recipe.patterns
    pairs = [composite(library, rng, recipe.side, restyle=rng.random() < recipe.restyled) for _ in range(count)]
    return np.stack([picture for picture, _ in pairs]), np.stack([alpha for _, alpha in pairs])


def _end_with_parent() -> None:
    """A pool's processes wait for work for ever where a signal has ended the process that gave it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _open(varied: float) -> None:
    global _library
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _library = Library("train")
    _library.varied = varied


def _compose_apart(seed: list[int], recipe: BatchRecipe, count: int) -> Arrays:
    return compose(_library, np.random.default_rng(seed), recipe, count)


class Batches:
    """Makes batches.

    Args:
        library: what they are made of.
        seed: two runs with one seed make the same.
        processes: which make AHEAD batches before they are asked for; 0: made here, when they are asked for.
    """

    def __init__(self, library: Library, seed: list[int], processes: int = 0) -> None:
        self._library, self._seed, self._made = library, seed, 0
        self._rng = np.random.default_rng(seed)
        self._waiting: deque[list[Future[Arrays]]] = deque()
        self._pool = None
        if processes:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(processes, context, initializer=_open, initargs=(library.varied,))
        self._processes = processes

    def begin(self, recipe: BatchRecipe) -> None:
        """Wait until the processes, where there are any, work: one of them takes half a minute to begin."""
        if self._pool is not None:
            self._order(recipe)
            for future in self._waiting[0]:
                future.result()

    def close(self) -> None:
        """End the processes; what they have made is dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def take(self, recipe: BatchRecipe, device: str) -> tuple[Tensor, Tensor]:
        """Return images (B, 3, side, side) in [0, 1] and alphas (B, 1, side, side) on `device`.

        With processes they are of the recipe that was given AHEAD calls before.
        """
        if self._pool is None:
            pictures, alphas = compose(self._library, self._rng, recipe, recipe.count)
        else:
            self._order(recipe)
            while len(self._waiting) <= AHEAD:
                self._order(recipe)
            parts = [future.result() for future in self._waiting.popleft()]
            pictures, alphas = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        images = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 255
        return images, torch.from_numpy(alphas).to(device)[:, None]

    def _order(self, recipe: BatchRecipe) -> None:
        assert self._pool is not None
        shares = [len(part) for part in np.array_split(range(recipe.count), self._processes) if len(part)]
        futures = [
            self._pool.submit(_compose_apart, [*self._seed, self._made, place], recipe, share)
            for place, share in enumerate(shares)
        ]
        self._made += 1
        self._waiting.append(futures)
