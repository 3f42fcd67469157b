"""Term sets that cover every plausible pair of anatomy and pathology exactly once, in as few sets as can be had.

A covering array of strength two, in which a finding may stand only beside others: once in a set, and not beside a
finding of its groups. Greedy, with the finding that has most places left first: no set could be spared for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medsynth_cli.text.vocabulary import Term, Vocabulary

Pair = tuple[Term, str]
"""A pathology, and the key of an anatomy that it may sit in."""


def sets(pathologies: Sequence[Term], vocabulary: Vocabulary, most: int) -> Iterator[list[Pair]]:
    """The sets, of at most ``most`` pairs each.

    Args:
        pathologies: those to cover; one without anatomy is no pair.
        vocabulary: has the anatomy.
        most: findings of a term set.
    """
    left = {term: [key for key in term.anatomy if key in vocabulary.terms] for term in pathologies}
    while any(left.values()):
        chosen = list[Pair]()
        for term in sorted(left, key=lambda term: (-_urgency(term, left), term.key)):
            alike = any(set(term.groups) & set(other.groups) for other, _ in chosen)
            if left[term] and not alike:
                chosen.append((term, left[term].pop(0)))
            if len(chosen) == most:
                break
        yield chosen


def fewest(pathologies: Sequence[Term], vocabulary: Vocabulary, most: int) -> int:
    """No cover has fewer sets: by the number of pairs, and by the findings that exclude each other."""
    pairs = {term: sum(key in vocabulary.terms for key in term.anatomy) for term in pathologies}
    groups = {group for term in pathologies for group in term.groups}
    crowded = max((sum(n for term, n in pairs.items() if group in term.groups) for group in groups), default=0)
    return max(-(-sum(pairs.values()) // most), crowded, max(pairs.values(), default=0))


def _urgency(term: Term, left: dict[Term, list[str]]) -> int:
    """Pairs that are left in the fullest group of a finding, none of which can share a set."""
    groups = set(term.groups)
    own = [sum(len(places) for other, places in left.items() if group in other.groups) for group in groups]
    return max([*own, len(left[term])]) if left[term] else 0
