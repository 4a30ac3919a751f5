"""What the verifier forgives, each lenience a named switch, and the reasons that a verdict can give."""

from __future__ import annotations

from dataclasses import dataclass

REASONS: tuple[str, ...] = (
    "exact",  # the same value, spelt alike
    "equivalent",  # the same value by algebra, or the same object in another form
    "rounded",  # right to the precision that the answer, the gold or the question shows
    "choice",  # option letter against value, or the other way round
    "wrong",  # an answer that was understood and is not the gold
    "no_answer",  # no box, no tag and no stated answer; or an empty box
    "several_answers",  # more than one distinct answer where the gold has one
    "unparsable",  # there is an answer, but it is no mathematics that we know and not the text of the gold
    "truncated",  # the text was cut before an answer stood there
    "too_long",  # the answer is longer or deeper than the limits allow
    "timeout",  # the symbolic comparison was killed at its time limit: not a judgement
    "gold_unparsable",  # the gold is empty or outside the limits: mend the data
    "error",  # the verifier itself failed: a bug of ours, never a plain "wrong"
)

CORRECT_REASONS: frozenset[str] = frozenset({"exact", "equivalent", "rounded", "choice"})


@dataclass(frozen=True)
class Policy:
    """Each lenience by name; the defaults are what we recommend for training on geometry problems.

    Where an answer is looked for:
        accept_answer_tag: the text of the last `<answer>` counts.
        accept_stated_answer: without box and tag, "the answer is 12", "#### 12", "**12**", a bare "12" count.
        sentence_in_box: `\\boxed{The angle is 45 degrees}` counts as 45.
    Numbers:
        approximate_exact_gold: a decimal stands for a gold like 2 sqrt(221) when it is rounded correctly and has
            `min_decimals` decimals or `min_significant` significant digits.
        round_to_gold: a finer value stands for a decimal gold when it rounds to it (29.73 for 29.7). A gold with one
            decimal must be at least 10 for that, so that 3.46 is never paid for 3.5.
        round_as_asked: "to the nearest tenth" in the question allows values that agree after that rounding.
        percent_as_number: `50%` stands for 50 and for 0.5, and the other way round.
        degrees_as_radians: `30^\\circ` stands for pi/6.
        decimal_comma: `1,22` stands for 1.22.
        accept_unreduced: 6/4, 3+4 and sqrt(144) stand for their values.
    Units:
        unit_conversion: 0.12 m stands for 12 cm.
        unit_may_be_missing: 12 stands for 12 cm.
    Forms:
        unordered_lists: "5, 3" stands for "3, 5" (never inside parentheses).
        bare_tuple: "3, 4" stands for (3, 4).
        ratio_as_fraction: 3/4 stands for 3:4.
        drop_left_side: `x = 5`, `AB = 5` and `5 = x` stand for 5.
        segment_either_way: the segment CA stands for AC.
    Options:
        lowercase_letters: "b" stands for option B.
        value_for_letter: with choices known, the text of an option stands for its letter and the other way round.
    """

    accept_answer_tag: bool = True
    accept_stated_answer: bool = True
    sentence_in_box: bool = True
    approximate_exact_gold: bool = True
    min_decimals: int = 2
    min_significant: int = 4
    round_to_gold: bool = True
    round_as_asked: bool = True
    percent_as_number: bool = True
    degrees_as_radians: bool = True
    decimal_comma: bool = True
    accept_unreduced: bool = True
    unit_conversion: bool = True
    unit_may_be_missing: bool = True
    unordered_lists: bool = True
    bare_tuple: bool = True
    ratio_as_fraction: bool = True
    drop_left_side: bool = True
    segment_either_way: bool = True
    lowercase_letters: bool = True
    value_for_letter: bool = True


DEFAULT_POLICY = Policy()
