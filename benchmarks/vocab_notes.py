"""What the disagreements with MeSH are, as found by reading them; the part of ``vocab.md`` that nothing measures."""

LINES: list[str] = []
