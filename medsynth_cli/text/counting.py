"""Counts a corpus in parallel: readers stay ahead of workers by some chunks only, so that memory stays flat."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path

from medsynth_cli.errors import Exit, MedsynthError
from medsynth_cli.text import extractors, vocabulary
from medsynth_cli.text.extractors import Extractor
from medsynth_cli.text.tally import Tally
from medsynth_cli.text.vocabulary import Vocabulary

CHUNK = 500
"""Reports that a worker counts at once."""
AHEAD = 3
"""Chunks for each worker that may wait for it."""

_own: tuple[Extractor, Vocabulary] | None = None
"""What a worker process reads with."""


def count(
    reports: Iterable[Mapping[str, str]],
    folder: Path,
    extractor: str,
    settings: Mapping[str, str],
    workers: int,
    done: Callable[[int], None],
) -> Tally:
    """Count a corpus.

    Args:
        reports: ``findings`` and ``impression`` each; read once, as needed.
        folder: of the vocabulary; its lexicon is used too.
        extractor: see `extractors.load`.
        settings: of the extractor.
        workers: processes; an extractor that holds a large model has one.
        done: told how many more reports have been counted.

    Raises:
        MedsynthError: the extractor cannot be built, or a worker process died.
    """
    terms = vocabulary.load(folder, lexicon=True)
    own = extractors.load(extractor, terms, **settings)
    source = iter(reports)
    chunks = iter(lambda: list(islice(source, CHUNK)), [])
    first, total = next(chunks, []), Tally()
    second = next(chunks, None)
    if second is None or workers == 1 or not own.parallel:
        for chunk in _after([first, second], chunks):
            total.merge(_tally(own, terms, chunk))
            done(len(chunk))
        return total
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start, (folder, extractor, dict(settings)))
    waiting = deque[tuple[int, Future[Tally]]]()
    try:
        for chunk in _after([first, second], chunks):
            waiting.append((len(chunk), pool.submit(_work, chunk)))
            if len(waiting) > AHEAD * workers:
                _take(waiting, total, done)
        while waiting:
            _take(waiting, total, done)
    except BrokenProcessPool as error:
        raise MedsynthError("a worker process died", "--workers 1 does without them", Exit.NOTHING_DONE) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return total


def _take(waiting: deque[tuple[int, Future[Tally]]], total: Tally, done: Callable[[int], None]) -> None:
    number, future = waiting.popleft()
    total.merge(future.result())
    done(number)


def _after(
    first: Sequence[list[Mapping[str, str]] | None], rest: Iterator[list[Mapping[str, str]]]
) -> Iterator[list[Mapping[str, str]]]:
    yield from (chunk for chunk in first if chunk)
    yield from rest


def _tally(extractor: Extractor, terms: Vocabulary, reports: Sequence[Mapping[str, str]]) -> Tally:
    tally = Tally()
    for report, graph in zip(reports, extractor.read(reports), strict=True):
        tally.add(report, graph, terms)
    return tally


def _start(folder: Path, extractor: str, settings: dict[str, str]) -> None:
    """Build the extractor of a worker process; Ctrl-C is the parent's business."""
    global _own
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    terms = vocabulary.load(folder, lexicon=True)
    _own = extractors.load(extractor, terms, **settings), terms


def _work(reports: list[Mapping[str, str]]) -> Tally:
    assert _own is not None
    return _tally(*_own, reports)
