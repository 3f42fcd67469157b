"""Phrases that deny, doubt, date or attribute what stands beside them, after NegEx and ConText.

Chapman et al., J Biomed Inform 34:301-310, 2001 (negation); Harkema et al., J Biomed Inform 42:839-851, 2009
(history and experiencer). What a kind does is in its name: ``no`` denies, ``probable`` and ``possible`` doubt, ``past``
is history, ``other`` is another person; ``before`` acts on what follows, ``whole`` on all of a list that follows,
``after`` on what precedes, ``list`` on all of a list that precedes. A pseudo-trigger does nothing, and a terminator
ends every scope.
"""

from __future__ import annotations

import functools

PSEUDO, TERMINATOR = "pseudo", "terminator"

PHRASES = {
    "no_before": """no|without|not|nor|neither|denies|never|absent|no evidence of|no evidence for|no sign of|
        no signs of|no radiographic evidence of|negative for|free of|free from|clear of|absence of|lack of|rather than|
        ruled out for|resolution of|resolved|devoid of|fails to reveal|rules out|rule out for|excludes|has no|with no|
        instead of|removal of|in place of|less likely""",
    "no_after": """has resolved|has since resolved|has cleared|has completely resolved|is resolved|now resolved|
        is absent|is ruled out|is excluded|is not seen|is not present|is not identified|is not evident|
        is not visualized|is not visible|is not demonstrated|is not appreciated|is not noted|is not detected|
        is no longer seen|is no longer present|is no longer visible|is no longer identified|is no longer evident|
        is not found|not seen|not identified|not present|not evident|was not seen|was not identified|has disappeared|
        was ruled out|was excluded|has been ruled out|has been excluded|none|has been removed|was removed|
        has been resolved""",
    "no_list": """have resolved|have cleared|have since resolved|are absent|are not seen|are not present|
        are not identified|are not evident|are not visualized|are not visible|are not demonstrated|are not noted|
        are no longer seen|are no longer present|have disappeared|are ruled out|are excluded|are not found|
        have been removed|were removed""",
    "probable_before": """probable|probably|likely|suggests|suggest|suggesting|suggestive of|presumed|presumably|
        compatible with|most likely|favor|favors|favored|versus|vs|could reflect""",
    "probable_after": "is likely|is probable|are likely|are probable|versus|vs|is favored|are favored",
    "possible_before": """possible|possibly|may|might|could|suspected|suspected to be|suspicious for|suspicion of|
        suspicion for|questionable|question of|question|concern for|concerning for|worrisome for|cannot exclude|
        can not exclude|cannot rule out|can not rule out|could not exclude|not exclude|not rule out|rule out|perhaps|
        equivocal|unclear whether|raises the question of|potentially|potential|
        evaluation for|evaluation of|evaluate for|assessment for|assess for|exclude|
        excluding|correlate for|correlate clinically for|clinically for|concern of|
        sensitive for|sensitive in detecting|to identify|in detecting|predisposes to|if|such as|may be due to|
        may be secondary to|may be related to|maybe due to|could be due to|could be secondary to|could be related to|
        might be due to|might be secondary to""",
    "possible_whole": """differential includes|differential diagnosis|differential considerations|
        differential possibilities|considerations include""",
    "possible_after": """cannot be excluded|can not be excluded|could not be excluded|cannot be ruled out|
        can not be ruled out|not excluded|not be excluded|not be ruled out|is possible|are possible|is suspected|
        are suspected|is questioned|is questionable|may be present|might be present|could be present|
        is not entirely excluded|is in the differential|is considered|may also be present|is not completely excluded|
        is a consideration|should be considered|would be a consideration|difficult to exclude|
        difficult to entirely exclude|difficult to completely exclude|cannot be entirely excluded|
        cannot be completely excluded|could have this appearance|should be excluded|are also possible""",
    "no_after possible_after": "is unlikely|are unlikely|unlikely|is felt unlikely|is considered unlikely|is doubtful",
    "past_before": """history of|h/o|hx of|past history of|known history of|prior history of|previous history of|
        status post|s/p|previously described|previously noted|on prior ct|on the prior""",
    "other_before": """family history of|fh of|mother with|father with|mother had|father had|sister with|
        brother with|maternal|paternal""",
    PSEUDO: """no change|no interval change|no significant change|no significant interval change|
        no appreciable change|no substantial change|no definite change|no increase|no decrease|no improvement|
        no interval increase|no interval improvement|no significant increase|no further|not only|not change|
        not changed|not significantly changed|not substantially changed|without change|without significant change|
        without interval change|without significant interval change|not necessarily|not certain|not improved|
        not resolved|has not resolved|have not resolved|has not cleared|not cleared|not completely resolved|
        has not completely resolved|not worse|not increased|not decreased|not limited to|not surprisingly|no doubt|
        without doubt|no less|no more|no smaller|no larger|no comparison""",
    TERMINATOR: """but|however|although|though|except|except for|apart from|aside from|other than|nevertheless|yet|
        still|whereas|while|there is|there are|which|because|secondary to|due to|persists|is present|are present|
        remains|is noted|is seen|are seen|are noted|besides|with the exception of|superimposed on""",
}
"""What the phrases do -> the phrases, in lower case, ``|`` between them."""


def phrases(kind: str) -> list[str]:
    """The phrases of a key of `PHRASES`."""
    return [" ".join(phrase.split()) for phrase in PHRASES[kind].split("|")]


@functools.cache
def table() -> dict[str, list[tuple[list[str], str]]]:
    """First word -> triggers that begin with it, the longest first: words, and what they do (several with spaces)."""
    kinds = dict[tuple[str, ...], str]()
    for kind in PHRASES:
        for phrase in phrases(kind):
            words = tuple(phrase.replace("/", " / ").split())
            kinds[words] = f"{kinds[words]} {kind}" if words in kinds else kind
    found = dict[str, list[tuple[list[str], str]]]()
    for words in sorted(kinds, key=len, reverse=True):
        found.setdefault(words[0], []).append((list(words), kinds[words]))
    return found
