"""Writes reports of term sets, and refuses reports that do not say what was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files.records import Failures, Record
from medsynth_cli.text import entities
from medsynth_cli.text.providers import Draft, Provider, ProviderError
from medsynth_cli.text.vocabulary import ANATOMY, PATHOLOGY, Vocabulary


def compose(
    records: Iterable[Record], writer: Provider, vocabulary: Vocabulary, failures: Failures
) -> Iterator[Record]:
    """Write one report a term set.

    A draft that misses or contradicts a requested finding is written again, up to ``writer.attempts`` times; then
    the record goes to ``failures``.

    Args:
        records: ``terms`` records.
        writer: a provider.
        vocabulary: terms of the records, and what the check looks for.
        failures: told of records with unknown terms, and of those without a faithful report.

    Yields:
        ``report`` records: the term sets with ``report``, ``writer`` and ``checks``.
    """
    for record in records:
        try:
            _refuse_unknown(record, vocabulary)
            draft, checks = _faithful_draft(record, writer, vocabulary)
        except MedsynthError as error:
            failures.add(f"{error.message} ({error.hint})" if error.hint else error.message, id=record["id"])
        except ProviderError as error:
            failures.add(str(error), id=record["id"])
        else:
            yield record | {
                "kind": "report",
                "report": {"findings": draft.findings, "impression": draft.impression},
                "writer": {
                    "provider": writer.name,
                    "model": writer.model,
                    "prompt_sha256": writer.prompt_sha256,
                    "usage": draft.usage,
                },
                "checks": checks,
            }


def check(
    report: Mapping[str, str], findings: Iterable[Mapping[str, Any]], vocabulary: Vocabulary
) -> dict[str, list[str]]:
    """Compare a report with the findings it was asked for.

    Returns:
        ``missing``: keys of requested terms that it does not assert (or, if absent, deny) on the requested side;
        ``contradicted``: keys of terms that it denies although present, asserts although absent, or asserts on
        another side; for a normal term set also every asserted term with a label.
    """
    findings = list(findings)
    mentions = [k for k in entities.keywords(report, vocabulary) if vocabulary.terms[k["term"]].kind == PATHOLOGY]
    asserted = [k for k in mentions if not k["negated"] and not k["uncertain"]]
    denied = [k for k in mentions if k["negated"]]
    missing, contradicted = list[str](), list[str]()
    for finding in findings:
        stated = [k for k in (asserted if finding["present"] else denied) if _says(k, finding, not finding["present"])]
        against = [k for k in (denied if finding["present"] else asserted) if k["term"] == finding["term"]]
        if not stated:
            missing.append(finding["term"])
        if finding["present"]:
            contradicted += [finding["term"]] if against and not stated else []
            contradicted += [k["term"] for k in asserted if _elsewhere(k, finding, findings)]
        else:
            contradicted += [k["term"] for k in against if _overlap(k["side"], finding.get("side"))]
    if not any(finding["present"] for finding in findings):
        contradicted += [k["term"] for k in asserted if vocabulary.terms[k["term"]].label]
    return {"missing": list(dict.fromkeys(missing)), "contradicted": list(dict.fromkeys(contradicted))}


def _faithful_draft(record: Record, writer: Provider, vocabulary: Vocabulary) -> tuple[Draft, dict[str, list[str]]]:
    """The first draft that says what was asked for, and its checks."""
    reason = ""
    for attempt in range(writer.attempts):
        try:
            draft = writer.write(record, attempt)
        except ProviderError as error:
            if not error.again:
                raise
            reason = str(error)
            continue
        report = {"findings": draft.findings, "impression": draft.impression}
        checks = check(report, record["findings"], vocabulary)
        if not checks["missing"] and not checks["contradicted"]:
            return draft, checks
        problems = [f"{what} {', '.join(terms)}" for what, terms in checks.items() if terms]
        reason = f"the report does not say what was asked for: {'; '.join(problems)}"
    raise ProviderError(f"{reason} (after {writer.attempts} attempts)" if writer.attempts > 1 else reason)


def _refuse_unknown(record: Record, vocabulary: Vocabulary) -> None:
    for finding in record["findings"]:
        for field, kind in (("term", PATHOLOGY), ("anatomy", ANATOMY)):
            key = finding.get(field)
            if key is None:
                continue
            term = vocabulary.terms.get(key)
            if term is None or term.kind != kind:
                hint = (
                    f"nearest: {', '.join(vocabulary.nearest(key))}" if kind == PATHOLOGY else "see medsynth vocab show"
                )
                raise MedsynthError(f"unknown {kind} {key!r}", hint)


def _says(keyword: Mapping[str, Any], finding: Mapping[str, Any], denial: bool) -> bool:
    """Whether a mention speaks of a finding, on its side; a denial without a side covers both."""
    side = finding.get("side")
    if keyword["term"] != finding["term"]:
        return False
    return side is None or keyword["side"] == side or (denial and keyword["side"] in (None, "bilateral"))


def _overlap(one: str | None, other: str | None) -> bool:
    return one == other or None in (one, other) or "bilateral" in (one, other)


def _elsewhere(keyword: Mapping[str, Any], finding: Mapping[str, Any], findings: list[Mapping[str, Any]]) -> bool:
    """Whether a mention puts a requested finding on a side where nobody asked for it."""
    if keyword["term"] != finding["term"] or keyword["side"] is None:
        return False
    sides = {f.get("side") for f in findings if f["present"] and f["term"] == keyword["term"]}
    return None not in sides and keyword["side"] not in sides
