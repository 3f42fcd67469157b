"""What a metric may ask for: synthetic images and their records, real ones, and networks that look at both.

Everything is computed when it is first asked for, and once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medsynth_cli import modality
from medsynth_cli.errors import MedsynthError
from medsynth_cli.files.records import Record
from medsynth_cli.metrics.reference import Reference
from medsynth_cli.recognition import features, judges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.recognition.features import Extractor
    from medsynth_cli.recognition.judges import Judge
    from medsynth_cli.runtime.bundles import Bundle

Row = dict[str, Any]

JACKKNIFE_BLOCKS = 20


@dataclass(frozen=True)
class Comparison:
    """Synthetic images beside real ones.

    Attributes:
        images: uint8 ``(N, H, W)``.
        records: their N records: ``findings`` or ``labels`` say what was asked for.
        real: what they are compared with.
        bundle: where extractor and judge come from.
        device: where they compute.
        seed: of random draws.
    """

    images: NDArray[np.uint8]
    records: Sequence[Record]
    real: Reference
    bundle: Bundle
    device: torch.device
    seed: int = 0

    def features(self, extractor: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Synthetic and real features ``(N, D)``, ``(M, D)`` of `features.EFFNET` or `features.INCEPTION`.

        Raises:
            MedsynthError: they cannot be computed here.
        """
        return self._effnet if extractor == features.EFFNET else self._inception

    @functools.cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """The judge's probabilities of the synthetic images, float32 ``(N, L)``, in the order of `labels`."""
        return self.judge.probabilities(self.images)

    @functools.cached_property
    def judge(self) -> Judge:
        """The bundle's judge."""
        return judges.load(self.bundle, self.device)

    @functools.cached_property
    def requested(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Records that say what was asked for: their indices ``(R,)``, and which labels, float32 ``(R, L)``."""
        names = self.judge.labels
        vocabulary = functools.cache(lambda: _vocabulary(self.bundle))
        known, wanted = [], []
        for index, record in enumerate(self.records):
            if "findings" in record:
                wanted.append(vocabulary().labels_of(record["findings"]))
            elif isinstance(record.get("labels"), list):
                wanted.append(record["labels"])
            else:
                continue
            known.append(index)
        return np.array(known, dtype=np.int64), judges.label_matrix(wanted, names)

    @functools.cached_property
    def _effnet(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return _load_extractor(self.bundle, self.device)(self.images), self.real.features

    @functools.cached_property
    def _inception(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if self.real.images is None:
            raise MedsynthError(
                f"{self.real.name} holds no Inception features and no images", "name real images with --real"
            )
        extractor = features.inception(self.device)
        return extractor(self.images), extractor(self.real.images)


def _load_extractor(bundle: Bundle, device: torch.device) -> Extractor:
    return features.load(bundle, device)


def _vocabulary(bundle: Bundle) -> Any:
    from medsynth_cli.text import vocabulary

    return vocabulary.load(modality.find(str(bundle.manifest["modality"])))


def row(value: float, interval: Sequence[float] | None = None, **more: Any) -> Row:
    """One result; a value that is no number becomes null with a reason."""
    if not math.isfinite(value):
        return {"value": None, "reason": "not a number on these images"} | more
    bounds = [float(bound) for bound in interval] if interval is not None else None
    return {"value": float(value), "interval": bounds} | more


def mean_row(values: NDArray[np.floating], *, most: float = math.inf, **more: Any) -> Row:
    """A mean with its normal interval of 95 %, cut to what is possible: ``values`` ``(N,)``, 0 to ``most``, N >= 1."""
    mean = float(values.mean())
    if len(values) < 2:
        return row(mean, **more)
    error = 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return row(mean, (max(0.0, mean - error), min(most, mean + error)), **more)


def unavailable(error: MedsynthError | str) -> Row:
    """The result of a metric that cannot be computed."""
    if isinstance(error, str):
        return {"value": None, "reason": error}
    return {"value": None, "reason": error.message + (f" ({error.hint})" if error.hint else "")}


def over_extractors(
    comparison: Comparison,
    names: dict[str, str],
    compute: Callable[[NDArray[np.float32], NDArray[np.float32]], dict[str, Row]],
) -> dict[str, Row]:
    """Rows of a metric on features, one set an extractor.

    Args:
        comparison: the images.
        names: ending of the row's name -> extractor.
        compute: synthetic and real features -> rows by the beginning of their name.
    """
    rows: dict[str, Row] = {}
    for name, extractor in names.items():
        try:
            ours, real = comparison.features(extractor)
            if min(len(ours), len(real)) < 2:
                raise MedsynthError("needs at least two synthetic and two real images")
            found = compute(ours, real)
        except MedsynthError as error:
            rows[name] = unavailable(error)
            continue
        for beginning, result in found.items():
            rows[beginning or name] = result | {"extractor": extractor, "n": len(ours), "n_real": len(real)}
    return rows


def jackknife(
    distance: Callable[[NDArray[np.float32], NDArray[np.float32]], float],
    ours: NDArray[np.float32],
    real: NDArray[np.float32],
    value: float,
    seed: int,
) -> tuple[float, float] | None:
    """Interval of 95 % by leaving out blocks of synthetic images (Efron and Tibshirani 1993, ch. 11).

    A bootstrap would repeat images, which Fréchet and kernel distances read as collapse; leaving out does
    not. It measures the spread over synthetic images; the real ones are taken as given.
    """
    blocks = min(JACKKNIFE_BLOCKS, len(ours) // 2)
    if blocks < 2:
        return None
    order = np.random.default_rng([seed, 7]).permutation(len(ours))
    left_out = np.array([distance(np.delete(ours, part, axis=0), real) for part in np.array_split(order, blocks)])
    error = math.sqrt((blocks - 1) / blocks * float(((left_out - left_out.mean()) ** 2).sum()))
    return value - 1.96 * error, value + 1.96 * error
