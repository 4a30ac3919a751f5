"""Every lenience is a switch: on by default, and off it refuses what it forgave."""

from dataclasses import fields, replace

import pytest

from uec_vlm.verifier import DEFAULT_POLICY, Policy, judge

CHOICES = ["9", "10", "13", "15"]

# switch -> (gold, response, choices, question)
FORGIVEN: dict[str, tuple[str, str, list[str] | None, str | None]] = {
    "accept_answer_tag": ("10", "reasons: 3 < 5, so <answer>10</answer>", None, None),
    "accept_stated_answer": ("10", "The answer is 10.", None, None),
    "sentence_in_box": ("45", r"\boxed{The measure of the angle between them is 45}", None, None),
    "approximate_exact_gold": (r"\sqrt{2}", r"\boxed{1.41}", None, None),
    "round_to_gold": ("29.7", r"\boxed{29.73}", None, None),
    "round_as_asked": ("37", r"\boxed{36.87}", None, "Find x to the nearest degree."),
    "percent_as_number": ("50", r"\boxed{50\%}", None, None),
    "degrees_as_radians": (r"\frac{\pi}{6}", r"\boxed{30^\circ}", None, None),
    "decimal_comma": ("1.22", r"\boxed{1,22}", None, None),
    "accept_unreduced": ("5", r"\boxed{\frac{10}{2}}", None, None),
    "unit_conversion": ("12 cm", r"\boxed{0.12 \text{ m}}", None, None),
    "unit_may_be_missing": ("12 cm", r"\boxed{12}", None, None),
    "unordered_lists": ("3, 5", r"\boxed{5, 3}", None, None),
    "bare_tuple": ("(3, 4)", r"\boxed{3, 4}", None, None),
    "ratio_as_fraction": ("3:4", r"\boxed{\frac{3}{4}}", None, None),
    "drop_left_side": ("5", r"\boxed{x = 5}", None, None),
    "segment_either_way": ("AC", r"\boxed{CA}", None, None),
    "lowercase_letters": ("B", r"\boxed{b}", CHOICES, None),
    "value_for_letter": ("B", r"\boxed{10}", CHOICES, None),
}


@pytest.mark.parametrize("switch", FORGIVEN)
def test_each_switch_forgives_what_it_says(switch: str) -> None:
    gold, response, choices, question = FORGIVEN[switch]
    assert judge(response, gold, choices, question=question).correct
    strict = replace(DEFAULT_POLICY, **{switch: False})
    assert not judge(response, gold, choices, question=question, policy=strict).correct


def test_every_switch_is_tested() -> None:
    switches = {field.name for field in fields(Policy) if field.type == "bool"}
    assert switches == set(FORGIVEN)


def test_the_precision_of_approximations_is_a_number() -> None:
    assert not judge(r"\boxed{1.4}", r"\sqrt{2}").correct
    assert judge(r"\boxed{1.4}", r"\sqrt{2}", policy=replace(DEFAULT_POLICY, min_decimals=1)).correct
    assert not judge(r"\boxed{1.41}", r"\sqrt{2}", policy=replace(DEFAULT_POLICY, min_decimals=3)).correct
    assert judge(r"\boxed{113.1}", r"36\pi").correct
    assert not judge(r"\boxed{113.1}", r"36\pi", policy=replace(DEFAULT_POLICY, min_significant=6)).correct


def test_the_strictest_policy_still_knows_the_gold() -> None:
    strict = Policy(**dict.fromkeys(FORGIVEN, False))
    for gold in ("48", r"2\sqrt{221}", "(3, 4)", "3:4", "isosceles", "B", r"\frac{3}{2}", "y = 2x + 3"):
        assert judge(f"\\boxed{{{gold}}}", gold, policy=strict).correct, gold
