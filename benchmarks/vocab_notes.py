"""What the disagreements with MeSH are, as found by reading them; the part of ``vocab.md`` that nothing measures."""

LINES = """
## Why not negspacy

The default extractor `rules` is an implementation of NegEx and ConText of its own, although a maintained library
(negspacy 1.1 on spaCy 3.8, both MIT) does the same: with the same phrases and triggers it is somewhat less exact
and takes three times as long (the table above); it has no scope within a list, so that it denies an effusion
because the pneumothorax behind the comma has resolved; and importing spaCy imports torch. It is there as the
extractor `negspacy` (extra of that name), and is never taken in place of another. medspacy 1.3.1 wants spaCy 3.7,
which does not go with numpy 2.

## What the disagreements are

Read by hand on the half that the rules were developed on; described, never quoted.

*Called present, not indexed (false positives).*

- **Another entry for the same.** By far the most: an enlarged cardiac silhouette indexed under *Cardiac Shadow*,
  emphysema under *Pulmonary Emphysema* or *Bullous Emphysema*, a hydropneumothorax under a heading of its own. The
  second table counts them as the same.
- **Hedged and not indexed.** The experts index a hedged diagnosis (*probably*, *suggestive of*, *versus*) more
  often than not, which is why hedged findings count as present; where they did not, it is a false positive here.
  For findings that are merely considered (*may*, *could*, a list of differential diagnoses) it is the other way
  round.
- **One of two alternatives.** Of "A versus B", sometimes only one is indexed.
- **What another examination showed**, an earlier film or CT, in a sentence that does not say so until its end.
- **Stated in one section, withdrawn in the other**, or in a typing error ("is not" where "is now" must have been
  meant).
- **Indexed by place instead**: a hernia of the diaphragm other than hiatal.

*Indexed, not called present (false negatives).*

- **Paraphrase**: air in the pleural space instead of pneumothorax, nodules of scars or of a reticular pattern, an
  atelectasis called a collapse of some portion.
- **The experts' inference**: nodules that the report calls calcified sequelae of granulomatous disease are indexed
  as calcified granulomas; an opacity described as rounded as a nodule.
- **Typing errors and blanks**: a misspelt finding, or a noun that de-identification has blanked.
- **Two adjectives over one noun**: "calcified X and Y granulomas", where the adjective belongs to the second as
  well.
- **Merely considered and indexed all the same.**

*Another side, or none.*

- The side is in an earlier sentence ("these opacities").
- The noun that the side belongs to is a blank, or the side follows from anatomy that has only one (lingula).
- MeSH has one side for a finding that the report describes on both, or indexes each lesion apart.
- Left and right stand with different sizes ("moderate right, small left").
- Findings that have no side in the vocabulary, such as pulmonary edema, are indexed with one.
""".splitlines()
