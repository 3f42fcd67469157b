"""The features that the bundle's judge recognises findings from, see `judges`."""

from __future__ import annotations

from medsynth_cli.recognition import judges
from medsynth_cli.recognition.extractors import Extractor

EXTRACTOR = Extractor("judge", lambda bundle, device, _: judges.load(bundle, device).features)
