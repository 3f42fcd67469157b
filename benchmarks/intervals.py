"""How often intervals of 95 % hold the truth, on simulated data sets whose truth is known.

    python benchmarks/intervals.py [-n 200]

writes ``benchmarks/intervals.md``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from medsynth_cli.files import atomic
from medsynth_cli.metrics import auroc, frechet, intervals, kernel
from medsynth_cli.runtime.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIMENSIONS, IMAGES = 64, 20 * 64
ENOUGH = (0.90, 0.98)


@dataclass(frozen=True)
class Case:
    """A figure of simulated data: its truth, and its interval from the data set of a seed."""

    what: str
    truth: float
    interval: Callable[[int], tuple[float, float] | None]


def gaussians(seed: int, shift: float, scale: float, patients: int = 1) -> tuple[NDArray, NDArray]:
    """Two sets of features, the second one real; with ``patients`` > 1, so many images a patient are much alike."""
    random = np.random.default_rng([seed, 11])

    def draw() -> NDArray:
        own = random.normal(size=(IMAGES // patients, DIMENSIONS)).repeat(patients, axis=0)
        return np.sqrt(0.8) * own + np.sqrt(0.2) * random.normal(size=own.shape) if patients > 1 else own

    return draw() * scale + shift, draw()


def frechet_case(what: str, shift: float, scale: float, patients: int = 1) -> Case:
    """FD∞ of shifted and scaled Gaussians: D (shift² + (scale - 1)²)."""
    groups = np.arange(IMAGES) // patients

    def interval(seed: int) -> tuple[float, float] | None:
        _, limit, error = frechet.unbiased(*gaussians(seed, shift, scale, patients), (groups, groups), seed)
        return intervals.normal(limit, error)

    return Case(f"FD∞, {what}", DIMENSIONS * (shift**2 + (scale - 1) ** 2), interval)


def kernel_case(what: str, shift: float, scale: float) -> Case:
    """KID of shifted and scaled Gaussians, its truth from the moments of x·y / D."""
    groups = np.arange(IMAGES)

    def expected(one: tuple[float, float], other: tuple[float, float]) -> float:
        """E (x·y / D + 1)³ for x ~ N(m 1, s² I), y ~ N(n 1, t² I): the cumulants of x·y are known."""
        (m, s), (n, t), d = one, other, DIMENSIONS
        mean = d * m * n
        variance = d * (s**2 * t**2 + m**2 * t**2 + n**2 * s**2)
        third = 6 * d * m * n * s**2 * t**2
        first, second = mean / d, (variance + mean**2) / d**2
        return 1 + 3 * first + 3 * second + (third + 3 * mean * variance + mean**3) / d**3

    ours, real = (shift, scale), (0.0, 1.0)
    truth = expected(ours, ours) + expected(real, real) - 2 * expected(ours, real)

    def interval(seed: int) -> tuple[float, float] | None:
        return kernel.compare(*gaussians(seed, shift, scale)).interval((groups, groups), seed)

    return Case(f"KID, {what}", truth, interval)


def auroc_case(apart: float, positives: int, negatives: int) -> Case:
    """AUROC of two normal distributions: Φ(apart / √2)."""

    def interval(seed: int) -> tuple[float, float] | None:
        random = np.random.default_rng([seed, 12])
        truth = np.repeat([1, 0], [positives, negatives])
        return auroc.interval(truth * apart + random.normal(size=len(truth)), truth, seed=seed)

    return Case(f"AUROC, {positives} positives of {positives + negatives}", float(norm.cdf(apart / 2**0.5)), interval)


def cases() -> Iterator[Case]:
    """Everything that is simulated."""
    yield frechet_case("shifted by 0.3", 0.3, 1.0)
    yield frechet_case("scaled by 1.3", 0.0, 1.3)
    yield frechet_case("shifted by 0.1 and scaled by 0.8", 0.1, 0.8)
    yield frechet_case("shifted by 0.3, four images a patient", 0.3, 1.0, 4)
    yield kernel_case("shifted by 0.3", 0.3, 1.0)
    yield kernel_case("scaled by 1.3", 0.0, 1.3)
    yield kernel_case("shifted by 0.1 and scaled by 0.8", 0.1, 0.8)
    yield auroc_case(1.0, 50, 150)
    yield auroc_case(1.5, 20, 330)
    yield auroc_case(0.0, 100, 254)


def covered(case: Case, count: int) -> float:
    """Share of the data sets whose interval holds the truth."""
    held = 0
    with Progress(case.what, count) as progress:
        for seed in range(count):
            bounds = case.interval(seed)
            held += bounds is not None and bounds[0] <= case.truth <= bounds[1]
            progress.advance()
    return held / count


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=200, help="data sets a figure")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args(argv)
    lines = [
        "# Intervals",
        "",
        f"How often an interval of 95 % holds the truth, on {options.n} simulated data sets each. Distances: "
        f"{IMAGES} images on either side, {DIMENSIONS} dimensions. Written by `benchmarks/intervals.py`.",
        "",
        "| figure | truth | covered | must reach | reached |",
        "|---|---|---|---|---|",
    ]
    for case in cases():
        share = covered(case, options.n)
        reached = "yes" if ENOUGH[0] <= share <= ENOUGH[1] else "no"
        lines.append(f"| {case.what} | {case.truth:.4g} | {share:.1%} | 90 to 98 % | {reached} |")
        print(lines[-1], file=sys.stderr)
    atomic.write_text(options.out, "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
