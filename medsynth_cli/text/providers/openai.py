"""Reports from a language model behind any OpenAI-compatible endpoint."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsynth_cli.errors import MedsynthError
from medsynth_cli.text import draws, vocabulary
from medsynth_cli.text.providers import Draft, ProviderError

if TYPE_CHECKING:
    import openai

PROMPT = "prompt.md"
KEY_VARIABLE = "OPENAI_API_KEY"


class OpenAI:
    """Asks a chat model for findings and impression as JSON, with the modality's ``prompt.md`` as instructions.

    The term set goes as a JSON data block in a message of its own, so that its words are never instructions. The key
    comes from ``OPENAI_API_KEY`` and appears in no output and no error.
    """

    name = "openai"

    @dataclass(frozen=True)
    class Options:
        """Settings of the openai provider.

        Attributes:
            model: name of the model.
            base_url: address of the endpoint, such as ``http://localhost:8080/v1``; default ``OPENAI_BASE_URL``.
            temperature: of the model; default the endpoint's.
            attempts: drafts of a record at most, when one misses or contradicts what was asked for.
            max_retries: repeats of a request that failed on the way.
            timeout_s: seconds until a request counts as failed.
            seed_field: request field that carries the seed; empty sends none, for endpoints that refuse it.
        """

        model: str = ""
        base_url: str | None = None
        temperature: float | None = None
        attempts: int = 3
        max_retries: int = 2
        timeout_s: float = 120.0
        seed_field: str = "seed"

    def __init__(self, folder: Path, seed: int, options: Options) -> None:
        if not options.model:
            raise MedsynthError("provider openai needs a model", "name one with --model")
        if options.attempts < 1 or options.max_retries < 0 or options.timeout_s <= 0:
            raise MedsynthError("attempts and timeout_s must be positive, max_retries not negative")
        path = folder / PROMPT
        try:
            self._prompt = path.read_text("utf-8")
        except OSError as error:
            raise MedsynthError(f"{path}: {error.strerror}", "see docs/extending.md") from error
        self.prompt_sha256: str | None = hashlib.sha256(self._prompt.encode()).hexdigest()
        self.model: str | None = options.model
        self.attempts = options.attempts
        self._options = options
        self._seed = seed
        self._vocabulary = vocabulary.load(folder)
        self._key = _key(options.base_url)

    def write(self, record: dict[str, Any], attempt: int) -> Draft:
        """Ask for the report of a ``terms`` record.

        Raises:
            ProviderError: the endpoint cannot be reached or refuses, or the answer is no report.
        """
        import openai

        options = self._options
        seed = int(draws.generator(self._seed, f"{record['id']}/{attempt}").integers(2**31))
        try:
            answer = self._client.chat.completions.create(
                model=options.model,
                messages=[
                    {"role": "system", "content": self._prompt},
                    {"role": "user", "content": json.dumps(self._data(record), ensure_ascii=False)},
                ],
                response_format={"type": "json_object"},
                temperature=openai.omit if options.temperature is None else options.temperature,
                extra_body={options.seed_field: seed} if options.seed_field else None,
            )
        except openai.APIStatusError as error:
            raise ProviderError(f"HTTP {error.status_code}: {self._clean(error.message)}") from None
        except openai.OpenAIError as error:
            raise ProviderError(f"{type(error).__name__}: {self._clean(str(error))}") from None
        except ValueError as error:
            raise ProviderError(f"the answer is no chat completion: {self._clean(str(error))}") from None
        return _draft(answer)

    @functools.cached_property
    def _client(self) -> openai.OpenAI:
        import openai

        options = self._options
        return openai.OpenAI(
            api_key=self._key, base_url=options.base_url, timeout=options.timeout_s, max_retries=options.max_retries
        )

    def _data(self, record: dict[str, Any]) -> dict[str, Any]:
        """The data block of a term set, in words rather than keys."""
        terms = self._vocabulary.terms
        rows: dict[bool, list[dict[str, str]]] = {True: [], False: []}
        for finding in record["findings"]:
            site = finding.get("anatomy")
            row = {
                "finding": terms[finding["term"]].name,
                "side": finding.get("side"),
                "site": terms[site].name if site else None,
                "severity": finding.get("severity"),
            }
            rows[finding["present"]].append({key: value for key, value in row.items() if value is not None})
        shared = {key: record.get(key) for key in ("view", "sex", "age")}
        return shared | {"present": rows[True], "absent": rows[False]}

    def _clean(self, message: str) -> str:
        """One short line without the key."""
        return " ".join(message.replace(self._key, "***").split())[:300]


def _key(base_url: str | None) -> str:
    """The key; an endpoint that was named needs none."""
    key = os.environ.get(KEY_VARIABLE, "")
    if key:
        return key
    if base_url or os.environ.get("OPENAI_BASE_URL"):
        return "no-key"
    raise MedsynthError(
        f"{KEY_VARIABLE} is not set", "export it, or name an endpoint that needs no key with --base-url"
    )


def _draft(answer: Any) -> Draft:
    """The report in a chat completion."""
    try:
        values = json.loads(answer.choices[0].message.content)
        findings, impression = (" ".join(values[key].split()) for key in ("findings", "impression"))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise ProviderError("the answer is no JSON object with texts findings and impression", again=True) from None
    if not findings or not impression:
        raise ProviderError("the answer has an empty findings or impression", again=True)
    usage = answer.usage
    counts = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens} if usage else None
    return Draft(findings, impression, counts)
