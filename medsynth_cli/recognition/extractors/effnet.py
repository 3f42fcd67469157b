"""The bundled extractor: EfficientNet-Lite2 with ImageNet weights, see `features`."""

from __future__ import annotations

from medsynth_cli.recognition import features
from medsynth_cli.recognition.extractors import Extractor

EXTRACTOR = Extractor("EffNet", lambda bundle, device, _: features.load(bundle, device))
