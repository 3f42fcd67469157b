"""Finds vocabulary terms in reports, with side, negation and uncertainty.

A rule-based algorithm after NegEx (Chapman et al., J Biomed Inform 34:301-310, 2001): trigger phrases open a scope
before or after them, words such as "but" close it, and pseudo-triggers such as "no change in" open none. Sides come
from modifiers in the same noun phrase, then from what follows ("in the right lower lobe"), then from what precedes
in the clause ("the left base shows ...").
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medsynth_cli.text.vocabulary import ANATOMY, PATHOLOGY, Term, Vocabulary, singular

SECTIONS = ("findings", "impression")

_TOKEN = re.compile(r"[^\W_]+|[,:()/]|[;!?]|\.(?!\d)|\n(?=\s*(?:\n|[-*•]|\d+[.)]\s))")
_STOPS = frozenset(";.!?\n")
"""Ends of sentences; a line break is one before an empty line or a list item."""
_PUNCTUATION = frozenset(",:()/") | _STOPS
_SIDES = {
    **dict.fromkeys(("left", "lt", "leftward"), "left"),
    **dict.fromkeys(("right", "rt", "rightward"), "right"),
    **dict.fromkeys(("bilateral", "bilaterally", "both", "bibasilar", "bibasal", "biapical"), "bilateral"),
}
_NO_SIDE = frozenset(("ventricle", "ventricular", "atrium", "atrial"))
"""Words after which left and right name a chamber of the heart."""

# What a trigger does: it denies or doubts what follows ("before") or what precedes ("after"); a pseudo-trigger
# does nothing; a terminator ends every scope.
_NO_BEFORE = """no|without|not|nor|neither|denies|never|absent|no evidence of|no evidence for|no sign of|no signs of|
    no radiographic evidence of|negative for|free of|free from|clear of|absence of|lack of|rather than|ruled out for|
    resolution of|resolved|devoid of|fails to reveal|rules out|rule out for|excludes|has no|with no|instead of"""
_NO_AFTER = """has resolved|has since resolved|has cleared|has completely resolved|is resolved|now resolved|is absent|
    is ruled out|is excluded|is not seen|is not present|is not identified|is not evident|is not visualized|
    is not visible|is not demonstrated|is not appreciated|is not noted|is not detected|is no longer seen|
    is no longer present|is no longer visible|is no longer identified|is no longer evident|is not found|not seen|
    not identified|not present|not evident|was not seen|was not identified|has disappeared|was ruled out|
    was excluded|has been ruled out|has been excluded|none"""
_NO_AFTER_LIST = """have resolved|have cleared|have since resolved|are absent|are not seen|are not present|
    are not identified|are not evident|are not visualized|are not visible|are not demonstrated|are not noted|
    are no longer seen|are no longer present|have disappeared|are ruled out|are excluded|are not found"""
_DOUBT_BEFORE = """possible|possibly|probable|probably|likely|may|might|could|suspected|suspected to be|suspicious for|
    suspicion of|suspicion for|questionable|question of|concern for|concerning for|worrisome for|cannot exclude|
    can not exclude|cannot rule out|can not rule out|could not exclude|not exclude|not rule out|rule out|versus|vs|
    suggests|suggest|suggesting|suggestive of|perhaps|presumed|equivocal|differential includes|unclear whether|
    compatible with|raises the question of|presumably|potentially|potential"""
_DOUBT_AFTER = """cannot be excluded|can not be excluded|could not be excluded|cannot be ruled out|
    can not be ruled out|not excluded|not be excluded|not be ruled out|is possible|are possible|is suspected|
    are suspected|is questioned|is questionable|may be present|might be present|could be present|is likely|is probable|
    are likely|is not entirely excluded|versus|vs|is in the differential|is considered|may also be present|
    is not completely excluded|is a consideration|should be considered"""
_BOTH_AFTER = "is unlikely|are unlikely|unlikely|is felt unlikely|is considered unlikely|is doubtful"
_PSEUDO = """no change|no interval change|no significant change|no significant interval change|no appreciable change|
    no substantial change|no definite change|no increase|no decrease|no improvement|no interval increase|
    no interval improvement|no significant increase|no further|not only|not change|not changed|
    not significantly changed|not substantially changed|without change|without significant change|
    without interval change|not necessarily|not certain|
    not improved|not resolved|has not resolved|have not resolved|has not cleared|not cleared|
    not completely resolved|has not completely resolved|not worse|not increased|not decreased|not limited to|
    not surprisingly|no doubt|without doubt|no less|no more|no smaller|no larger"""
_TERMINATOR = """but|however|although|though|except|except for|apart from|aside from|other than|nevertheless|yet|still|
    whereas|while|there is|there are|which|because|secondary to|due to|persists|is present|are present|remains|
    is noted|is seen|are seen|are noted|besides|with the exception of"""
_OPENERS = frozenset(("a", "an", "the", "there", "stable", "unchanged", "persistent", "known", "new", "old", "chronic"))
"""After a comma, "and" or "with": the start of a new statement, so that what went before ends."""
_AFTER_AND = _OPENERS | {
    "mild", "moderate", "severe", "small", "large", "marked", "minimal", "tiny", "increased", "left", "right",
    "bilateral", "mildly", "moderately", "severely",
}  # fmt: skip
_OPENERS_AFTER_COMMA = _OPENERS - {"new", "chronic", "old"}
_CONJUNCTIONS = frozenset(("and", "or", "nor", "with", "without", "but"))
_BREAKS = _CONJUNCTIONS | {
    "in", "of", "is", "are", "was", "were", "has", "have", "there", "no", "not", "at", "on", "by", "from", "shows",
    "show", "than", "may", "represents", "represent", "as", "for", "to", "demonstrates", "contains", "seen",
}  # fmt: skip
"""Words that no noun phrase continues across, walking back from its head."""
_JOINS = (["and"], ["or"], ["and", "or"], ["with"], ["versus"], ["vs"])
"""Between two pathologies: a side after the second holds for both."""
_INTERPRETS = frozenset(
    ("represent", "represents", "representing", "reflect", "reflects", "reflecting", "likely", "suggesting", "suggests",
     "suggestive", "concerning", "suspicious", "consistent", "compatible", "probably", "presumably")
)  # fmt: skip
"""Between two pathologies: the second explains the first, and so is on its side."""
_GREATER = re.compile(r"\s*,?\s*\(?\s*(left|right)(?:[- ]sided)?\s+(?:is\s+)?(?:greater|larger|more|worse)\b", re.I)


@dataclass(frozen=True)
class _Token:
    word: str
    start: int
    end: int


@dataclass(frozen=True)
class Mention:
    """A term in a list of words: ``words[start:end]``."""

    term: Term
    start: int
    end: int


def keywords(report: Mapping[str, str], vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """Terms mentioned in a report, in reading order, as the ``keywords`` of an ``aligned`` record.

    Args:
        report: texts ``findings`` and ``impression``.
        vocabulary: the terms to look for; the longest phrase wins.

    Returns:
        One mapping a mention: ``term`` (key), ``text`` (as written), ``section``, ``span`` [start, end) in code points
        of the section, ``side`` (``left``, ``right``, ``bilateral`` or None), ``negated``, ``uncertain``.
    """
    found = list[dict[str, Any]]()
    for section in SECTIONS:
        text = report.get(section) or ""
        for tokens in _sentences(text):
            found += _read_sentence(text, section, tokens, vocabulary)
    return found


def mentions(words: Sequence[str], vocabulary: Vocabulary) -> list[Mention]:
    """Terms in a list of lower-case words, longest match first from the left, never overlapping."""
    singulars = [singular(word) for word in words]
    found, at = list[Mention](), 0
    while at < len(singulars):
        mention = _mention_at(singulars, at, vocabulary)
        if mention is not None:
            found.append(mention)
        at = mention.end if mention is not None else at + 1
    return found


def _mention_at(singulars: list[str], start: int, vocabulary: Vocabulary) -> Mention | None:
    """The longest term that begins at a word; a side inside it is skipped ("elevation of the left hemidiaphragm")."""
    phrase, best = list[str](), None
    longest = vocabulary.longest.get(singulars[start], 0)
    for at in range(start, len(singulars)):
        if phrase and singulars[at] in _SIDES:
            continue
        phrase.append(singulars[at])
        if len(phrase) > longest:
            break
        term = vocabulary.index.get(tuple(phrase))
        if term is not None:
            best = Mention(term, start, at + 1)
    return best


def _sentences(text: str) -> Iterator[list[_Token]]:
    """Tokens of each sentence: words and inner punctuation."""
    sentence = list[_Token]()
    for match in _TOKEN.finditer(text):
        token = _Token(match.group().lower(), match.start(), match.end())
        if token.word in _STOPS:
            yield sentence
            sentence = []
        else:
            sentence.append(token)
    yield sentence


def _read_sentence(text: str, section: str, tokens: list[_Token], vocabulary: Vocabulary) -> list[dict[str, Any]]:
    words = [token.word for token in tokens]
    found = mentions(words, vocabulary)
    if not found:
        return []
    negated, uncertain = _scopes(words, found)
    sides = _sides(words, found, text, tokens)
    rows = []
    for mention, side in zip(found, sides, strict=True):
        start, end = tokens[mention.start].start, tokens[mention.end - 1].end
        rows.append(
            {
                "term": mention.term.key,
                "text": text[start:end],
                "section": section,
                "span": [start, end],
                "side": side if mention.term.sided else None,
                "negated": any(negated[mention.start : mention.end]),
                "uncertain": any(uncertain[mention.start : mention.end]),
            }
        )
    return rows


@functools.cache
def _triggers() -> dict[str, dict[tuple[str, ...], str]]:
    """First word -> {words of a trigger: what it does}."""
    table = dict[str, dict[tuple[str, ...], str]]()
    kinds = {
        "no_before": _NO_BEFORE, "doubt_before": _DOUBT_BEFORE, "no_after": _NO_AFTER, "no_after_list": _NO_AFTER_LIST,
        "doubt_after": _DOUBT_AFTER, "both_after": _BOTH_AFTER, "pseudo": _PSEUDO, "terminator": _TERMINATOR,
    }  # fmt: skip
    for kind, phrases in kinds.items():
        for phrase in phrases.split("|"):
            key = tuple(phrase.split())
            known = table.setdefault(key[0], {})
            known[key] = f"{known[key]} {kind}" if key in known else kind
    return table


def _find_triggers(words: list[str], found: list[Mention]) -> list[tuple[int, int, str]]:
    """Triggers outside mentions as (start, end, what it does), longest first from the left."""
    inside = {index for mention in found for index in range(mention.start, mention.end)}
    triggers, at = list[tuple[int, int, str]](), 0
    while at < len(words):
        candidates = _triggers().get(words[at], {})
        best = max((t for t in candidates if tuple(words[at : at + len(t)]) == t), key=len, default=())
        if best and at not in inside:
            triggers.append((at, at + len(best), candidates[best]))
            at += len(best)
        else:
            at += 1
    return triggers


def _scopes(words: list[str], found: list[Mention]) -> tuple[list[bool], list[bool]]:
    """For every word whether it is negated and whether it is uncertain."""
    negated, uncertain = [False] * len(words), [False] * len(words)
    triggers = _find_triggers(words, found)
    walls = _walls(words, triggers)
    for start, end, kinds in triggers:
        for kind in kinds.split():
            flags = [negated] if kind.startswith("no_") else [uncertain] if kind.startswith("doubt") else []
            if kind == "both_after":
                flags = [negated, uncertain]
            if not flags:
                continue
            if kind.endswith("before"):
                scope = _forward(words, end, walls, whole=words[start] != "resolved" and kind == "no_before")
            else:
                scope = _backward(words, start, walls, found, whole=kind == "no_after_list" or words[start] == "are")
            for flag in flags:
                flag[scope] = [True] * len(flag[scope])
    return negated, uncertain


def _walls(words: list[str], triggers: list[tuple[int, int, str]]) -> set[int]:
    """Positions that no scope crosses: terminators and the starts of new statements."""
    walls = {start for start, _, kinds in triggers if "terminator" in kinds}
    for at, word in enumerate(words[:-1]):
        after = words[at + 1]
        opens = after in (_OPENERS_AFTER_COMMA if word == "," else _AFTER_AND)
        if word in (",", "and", "with") and opens and not _joins_sides(words, at):
            walls.add(at)
    return walls


def _forward(words: list[str], start: int, walls: set[int], whole: bool) -> slice:
    """Words from ``start`` to the next wall; unless ``whole``, to the next comma or "and" if no "or" list follows."""
    end = next((at for at in range(start, len(words)) if at in walls), len(words))
    if not whole and not {"or", "versus", "vs"} & set(words[start:end]):
        end = next((at for at in range(start, end) if words[at] in (",", "and")), end)
    return slice(start, end)


def _backward(words: list[str], end: int, walls: set[int], found: list[Mention], whole: bool) -> slice:
    """Words before ``end`` back to a wall; unless ``whole``, back to a comma or "and"."""
    start = end
    while start > 0:
        wall = start - 1 in walls
        if wall or (not whole and words[start - 1] in (",", "and")):
            break
        start -= 1
    if words[end] in ("versus", "vs"):
        start = max((m.start for m in found if m.end <= end and m.term.kind == PATHOLOGY), default=start)
    return slice(start, end)


def _sides(words: list[str], found: list[Mention], text: str, tokens: list[_Token]) -> list[str | None]:
    """The side of each mention."""
    heads = [_head(words, found, index) for index in range(len(found))]
    sides = [_side_in(words, heads[i], found[i].end) for i in range(len(found))]
    pathologies = [i for i, mention in enumerate(found) if mention.term.kind == PATHOLOGY]
    for place, i in enumerate(pathologies):
        following = heads[pathologies[place + 1]] if place + 1 < len(pathologies) else len(words)
        compared = _GREATER.match(text, tokens[found[i].end - 1].end)
        if compared:
            sides[i] = "bilateral"
        if sides[i] is None:
            sides[i] = _side_in(words, found[i].end, _tail(words, found[i].end, following))
    for here, there in reversed(list(itertools.pairwise(pathologies))):
        between = words[found[here].end : found[there].start]
        if sides[here] is None and between in _JOINS:
            sides[here] = sides[there]
    for place, i in enumerate(pathologies):
        if sides[i] is None and place:
            before = pathologies[place - 1]
            between = words[found[before].end : found[i].start]
            if _INTERPRETS & set(between) and "and" not in between:
                sides[i] = sides[before]
        if sides[i] is None:
            previous = _tail(words, found[pathologies[place - 1]].end, heads[i]) if place else 0
            sides[i] = _side_before(words, previous, heads[i], found)
    for i, mention in enumerate(found):
        if mention.term.kind == ANATOMY and sides[i] is None:
            after = words[mention.end : mention.end + 4]
            if after[:1] == ["bilaterally"] or after[:3] == ["on", "both", "sides"]:
                sides[i] = "bilateral"
            elif after[:2] == ["on", "the"] and after[2:3] in (["left"], ["right"]):
                sides[i] = after[2]
    return sides


def _head(words: list[str], found: list[Mention], index: int) -> int:
    """Where the noun phrase of a mention begins: its modifiers, and anatomy directly before a pathology."""
    mention = found[index]
    floor = found[index - 1].end if index else 0
    if index and found[index - 1].term.kind == ANATOMY and mention.term.kind == PATHOLOGY:
        floor = _head(words, found, index - 1) if floor == mention.start else floor
    start = mention.start
    while start > floor:
        word = words[start - 1]
        if (word in _BREAKS or word in _PUNCTUATION) and not _joins_sides(words, start - 1):
            break
        start -= 1
    return start


def _joins_sides(words: list[str], at: int) -> bool:
    """Whether ``words[at]`` joins sides of one phrase ("left and right effusions", not "on the left and right ...")."""
    joins = words[at] in ("and", "or") and at > 0 and words[at - 1] in _SIDES and words[at + 1] in _SIDES
    return joins and words[max(at - 3, 0) : at - 1] != ["on", "the"]


def _tail(words: list[str], start: int, end: int) -> int:
    """Where the phrases after a mention end: at a comma or conjunction, unless one joins two sides."""
    for at in range(start, end):
        word = words[at]
        if word in (",", ";", ":", "but", "however", "with", "without", "than", "compared", "although"):
            return at
        if word in ("and", "or") and not set(words[start:at]) & _SIDES.keys():
            return at
    return end


def _side_before(words: list[str], start: int, end: int, found: list[Mention]) -> str | None:
    """Side of an anatomy that the clause names before the mention."""
    for at in range(end - 1, start - 1, -1):
        if words[at] in ("but", "however", "and", "without", "no") and not (
            at + 1 < end and words[at + 1] in _SIDES and words[at - 1] in _SIDES
        ):
            start = at + 1
            break
    named = [m for m in found if m.term.kind == ANATOMY and m.start >= start and m.end <= end]
    side_words = [at for at in range(start, end) if words[at] in _SIDES]
    return _side_in(words, start, end) if named or side_words else None


def _side_in(words: list[str], start: int, end: int) -> str | None:
    """The side that ``words[start:end]`` name; left and right together are bilateral."""
    sides = {
        _SIDES[words[at]]
        for at in range(start, end)
        if words[at] in _SIDES and not (at + 1 < len(words) and words[at + 1] in _NO_SIDE)
    }
    if not sides:
        return None
    return sides.pop() if len(sides) == 1 else "bilateral"
