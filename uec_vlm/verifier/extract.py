"""Where the answer stands in a completion.

Rules, in this order (all linear in the text):
1. Only what follows the last `</think>` counts. An opened and never closed `<think>` means that the text was cut.
2. The text of the last `<answer>` narrows the search; its closing tag may be missing (it is a usual stop string).
3. The last complete `\\boxed{}` is the answer; an empty one is no answer. Boxes that follow one another with nothing
   but spaces, commas, "and" or "or" between them are one answer with several items.
4. Without a box the text of `<answer>` is the answer.
5. Without both, a *stated* answer counts (a policy): see `stated`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from uec_vlm.verifier.limits import MAX_ANSWER_CHARS, MAX_BOXES
from uec_vlm.verifier.policy import DEFAULT_POLICY, Policy
from uec_vlm.verifier.stated import stated

_BOX_SCAN = re.compile(r"\\{1,4}(?:boxed|fbox|framebox)\s*\{|\\[\s\S]|[{}]")
_BOX_START = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{")
_TAG = re.compile(r"<answer>", re.IGNORECASE)
_TAG_END = re.compile(r"</answer>", re.IGNORECASE)
_SPECIAL = re.compile(r"<\|[a-z_]{1,20}\|>|</s>|<eos>|<end_of_turn>")
_OPENING = re.compile(rf"(?:\s*(?:{_SPECIAL.pattern})(?:assistant\b)?)+")
_JOIN = re.compile(
    r"\\(?:text|mbox|mathrm)\s*\{\s*(?:and|or|,)?\s*\}|\\(?:q?quad|[,;:! ()\[\]]|\\|lor|land)|\band\b|\bor\b|"
    r"[\s,;$&|~和或、，]"
)
_SEPARATOR = re.compile(r",|;|and|or|\\lor|&|和|或|、")
_NAME = re.compile(r"(?:[A-Za-z]|\\[a-z]+)(?:'|_\{?\w{1,8}\}?)?(?:\([a-z]\))?\s*=\s*$")


@dataclass(frozen=True)
class Extraction:
    """What was found. how: box, tag, stated or none.

    text: the answer; for boxes in a row their contents joined by commas. last: the content of the last box alone.
    named: the boxes of the row stand behind names (`a = \\boxed{1}, b = \\boxed{2}`).
    cut: the text ends before an answer stands there.
    """

    how: str
    text: str = ""
    last: str = ""
    named: bool = False
    cut: bool = False


def extract(response: str, *, finish_reason: str | None = None, policy: Policy = DEFAULT_POLICY) -> Extraction:
    """Find the answer of a completion. Total on every string."""
    cut = finish_reason == "length"
    closed = response.rfind("</think>")
    if closed < 0 and "<think>" in response:
        return Extraction("none", cut=True)
    region = response[closed + 8 :] if closed >= 0 else response
    region = _until_special(region)
    tag = _last_tag(region) if policy.accept_answer_tag else None
    if tag:
        end = _TAG_END.search(region, tag.end())
        cut = cut and end is None
        region = region[tag.end() : end.start() if end else len(region)]
    boxed = in_boxes(region)
    if boxed is not None:
        return boxed
    if cut:
        return Extraction("none", cut=True)
    if tag:
        text = region.strip()
        return Extraction("tag", text, text) if text else Extraction("none")
    if _BOX_START.search(region):
        return Extraction("none", cut=True)
    text = (stated(region) or "") if policy.accept_stated_answer else ""
    return Extraction("stated", text, text) if text else Extraction("none")


def _until_special(region: str) -> str:
    """The text up to its first special token; those that open the text are skipped."""
    if "<" not in region:
        return region
    opening = _OPENING.match(region)
    start = opening.end() if opening else 0
    special = _SPECIAL.search(region, start)
    return region[start : special.start() if special else len(region)]


def _last_tag(region: str) -> re.Match[str] | None:
    last = None
    for found in _TAG.finditer(region) if "<" in region else ():
        last = found
    return last


def in_boxes(region: str) -> Extraction | None:
    """The last complete box, with the boxes that stand in a row with it; None where no box is complete."""
    boxes = _complete_boxes(region)
    if not boxes:
        return None
    last = region[boxes[-1][1] : boxes[-1][2]].strip()
    row = [boxes[-1]]
    named = False
    for box in reversed(boxes[:-1]):
        gap = region[box[3] : row[0][0]]
        joined = _joined(gap)
        if joined is None:
            break
        named = named or joined
        row.insert(0, box)
    if len(row) == 1:
        return Extraction("box", last, last)
    texts = [region[start:end].strip() for _, start, end, _ in row]
    if not last:  # the last box is empty: no answer
        return Extraction("box")
    if named:
        texts = [_name_before(region, box[0]) + text for box, text in zip(row, texts, strict=True)]
    return Extraction("box", ", ".join(texts), last, named)


def _complete_boxes(region: str) -> list[tuple[int, int, int, int]]:
    """The outermost complete boxes in order: (start, start of content, end of content, end)."""
    at = len(region)
    for _ in range(MAX_BOXES):
        found = region.rfind("box", 0, at)
        if found < 0:
            break
        at = found
    else:
        found = at
    first = max(0, (at if at < len(region) else len(region)) - 8)
    stack: list[tuple[int, int] | None] = []
    boxes: list[tuple[int, int, int, int]] = []
    for match in _BOX_SCAN.finditer(region, first):
        sign = match.group()
        if sign == "{":
            stack.append(None)
        elif sign == "}":
            opened = stack.pop() if stack else None
            if opened is not None:
                while boxes and boxes[-1][0] > opened[0]:
                    boxes.pop()  # a box inside this one
                boxes.append((opened[0], opened[1], match.start(), match.end()))
        elif len(sign) > 2:
            stack.append((match.start(), match.end()))
    return boxes


def _joined(gap: str) -> bool | None:
    """Whether two boxes are one answer: False (nothing between but separators), True (with a name), None (not)."""
    if len(gap) > 80:
        return None
    rest = _JOIN.sub("", gap)
    if not rest:
        return False
    named = _NAME.fullmatch(rest) if len(rest) < 30 else None
    return True if named and _SEPARATOR.search(gap) else None


def _name_before(region: str, start: int) -> str:
    found = _NAME.search(region, max(0, start - 30), start)
    return found.group() if found else ""


def gold_text(gold: str) -> str:
    """The answer inside a gold: the content of its boxes where it has some, else the gold itself."""
    if "boxed" in gold:
        boxed = in_boxes(gold)
        if boxed is not None:
            return boxed.text
    return gold.strip() if len(gold) <= MAX_ANSWER_CHARS else gold
