"""Answers that are stated without a box or a tag: "The answer is 12.", "#### 12", "**12**", "Therefore, x = 12.".

Only the end of the text is looked at, and only a statement that commits itself counts: a number that merely occurs in
the text, a cut sentence, a question or a list of doubts is no answer.
"""

from __future__ import annotations

import re

from uec_vlm.verifier.limits import STATED_WINDOW

_SEARCHED = 20_000  # characters at the end in which "answer" is looked for
_ANNOUNCED = re.compile(r"answer|option|choice|答案", re.IGNORECASE)
_TRIED = 40  # announcements that are tried, from the end
_ANSWER = re.compile(
    r"(?:answer|option|choice)s?\b(?:\*\*)?(?:\s+(?!is\b|are\b|was\b)[\w'$\\]{1,20}){0,8}\s*(?:\*\*)?\s*"
    r"(?::|=|\bis\b(?:\s*:)?|\bare\b|\bequals\b)|answer\s*(?:\*\*)?\s*\n|答案\s*(?:是|为|:|：)+",
    re.IGNORECASE,
)
_OPTION_IS_RIGHT = re.compile(
    r"(?:\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s*\(?([A-J])\)?|\(([A-J])\)|\bI\s+(?:choose|pick|select)\s+\(?([A-J])\)?(?=\W|$))"
    r"(?(3)|\s+is\s+(?:the\s+)?(?:correct|right|best)\b)[^.]{0,40}\.?\s*$"
)
_VERDICT = re.compile(r"(?:the\s+)?(?:correct|right|best|wrong|incorrect|not)\b(?!\s+(?:answer|option|choice)\s+is)")
_DENIED = re.compile(r"\b(?:wrong|incorrect|false)\s+(?:answer|option|choice)", re.IGNORECASE)
# Behind an answer: another one, or its withdrawal.
_TAKEN_BACK = re.compile(
    r"^(?:[^.!?\n]|\.(?=\d))*\bor\b[^.\n]{0,60}[\d$\\]|[.!?\n]\s*or\b"
    r"|\b(?:maybe|perhaps|possibly|wait|alternatively)\b[^.\n]{0,60}[\d$\\]"
    r"|\bbut\b[^.\n]{0,60}\b(?:possible|could|might|may)\b",
    re.IGNORECASE,
)
_HASHES = re.compile(r"####\s*(.{1,200})\s*$")
_OPTION_AND_TEXT = re.compile(r"(?:option|choice)\s*\(?([A-J])\)?\s*:", re.IGNORECASE)
_BOLD_LINE = re.compile(r"\*\*([^*\n]{1,200})\*\*\s*\.?")
_DISPLAY = re.compile(r"(?:\$\$|\\\[)\s*([^$]{1,400}?)\s*(?:\$\$|\\\])\s*\.?")
_SPAN = re.compile(r"\$\$([^$]{1,400})\$\$|\$([^$]{1,400})\$|\\\((.{1,400}?)\\\)|\\\[(.{1,400}?)\\\]", re.DOTALL)
_CONCLUSION = re.compile(
    r"(?:therefore|thus|hence|consequently|finally|in conclusion|so|we (?:get|find|have|obtain)|this (?:gives|means)|"
    r"\\therefore|∴|因此|所以|故)(?![a-z])[,:]?\s*(?:we (?:get|find|have|obtain|conclude)\s+)?(?:that\s+)?",
    re.IGNORECASE,
)
_LATER_CONCLUSION = re.compile(r"\b(?:Therefore|Thus|Hence|So)\b")
_FILLER = re.compile(r"(?:i hope|hope this|thank|please|let me know|note|if you)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_REASON = re.compile(r",?\s+(?:not|because|since|which|where|rather|instead|as)\b", re.IGNORECASE)
_STOP = re.compile(r"[.。](?=\s|$|\*)")
_UNDECIDED = re.compile(
    r"\b(?:since|if|given|because|suppose|assume|let|when|cannot|can't|could|maybe|perhaps|might|need)\b|\?",
    re.IGNORECASE,
)
_SEVERAL_FACTS = re.compile(r"\band\b|=(?!\s*$)")
_COPULA_NUMBER = re.compile(r"(?:\bis|'s|\bequals|=)\s+([-\d][\d.,/]{0,30}\s?[^\s\d]{0,12})[.]?$")


def stated(region: str) -> str | None:
    """The answer that a text without box and tag states, or None."""
    window = region[-STATED_WINDOW:].strip()
    if not window:
        return None
    hashes = _HASHES.search(window, max(0, window.rfind("####")))
    if hashes:
        return hashes.group(1).strip()
    right = _OPTION_IS_RIGHT.search(window[-200:])
    if right:
        return right.group(1) or right.group(2) or right.group(3)
    announced = _announced(region[-_SEARCHED:])
    if announced is not None:
        return announced or None
    last_line = window.rsplit("\n", 1)[-1].strip()
    for pattern in (_BOLD_LINE, _DISPLAY):
        found = pattern.fullmatch(last_line)
        if found:
            return found.group(1)
    if len(window) <= 400 and len(region.strip()) == len(window) and not _UNDECIDED.search(window):
        short = _short_text(window)
        if short:
            return short
    sentences = [s.strip() for s in _SENTENCE_END.split(window) if s.strip() and not _FILLER.match(s.strip())]
    return _concluded(sentences[-1]) if sentences else None


def _announced(region: str) -> str | None:
    """What follows the last "answer is" or "answer:" of the text; "" where that is taken back."""
    places = [found.start() for found in _ANNOUNCED.finditer(region)]
    for place in reversed(places[-_TRIED:]):
        found = _ANSWER.match(region, place)
        if found is None or _DENIED.search(region[max(place - 12, 0) : place + 6]):
            continue
        rest = region[found.end() :][:STATED_WINDOW].lstrip(" \t*:").lstrip()
        if _VERDICT.match(rest):  # "option B is correct" names its answer before the verb
            continue
        answer = _announced_in(rest)
        if _TAKEN_BACK.search(rest[rest.find(answer) + len(answer) :]):
            return ""
        option = _OPTION_AND_TEXT.fullmatch(found.group())
        return f"{option.group(1).upper()}. {answer}" if option else answer or None
    return None


def _announced_in(rest: str) -> str:
    """The answer at the start of what follows "answer is"."""
    line = rest if rest.startswith(("\\[", "$$")) else rest.split("\n", 1)[0]
    span = _SPAN.match(line)
    if span and not line[span.end() :].strip(" .*。").startswith(("and", "or", ",")):
        tail = line[span.end() :].split(".", 1)[0]
        return span.group() + (tail if len(tail) < 20 else "")
    return _cut(line)


def _cut(line: str) -> str:
    """The statement at the start of a line: up to the end of the sentence or to a "because"."""
    for pattern in (_STOP, _REASON):
        end = pattern.search(line)
        if end:
            line = line[: end.start()]
    return line.strip().strip("*").strip()


def _short_text(window: str) -> str | None:
    """A text that is nothing but an answer, or one short sentence that ends with it."""
    if _DENIED.search(window):
        return None
    spans = list(_SPAN.finditer(window))
    if len(spans) == 1 and re.match(r"[A-Za-z]{2}", window):
        return _inside(spans[0])
    if len(window) > 120 or "\n" in window:
        return None
    found = _COPULA_NUMBER.search(window)
    if found and not spans and not _SEVERAL_FACTS.search(window[: found.start(1) - 1]):
        return found.group(1)
    sentences = _SENTENCE_END.split(window)
    return window if len(sentences) == 1 and not _CONCLUSION.match(window) else None


def _inside(span: re.Match[str]) -> str:
    return "".join(part or "" for part in span.groups())


def _concluded(sentence: str) -> str | None:
    """The answer in a last sentence that starts with "therefore" or the like."""
    later = [found.start() for found in _LATER_CONCLUSION.finditer(sentence)]
    sentence = sentence[later[-1] :] if later else sentence
    opening = _CONCLUSION.match(sentence.lstrip("* "))
    if not opening or sentence.endswith(("?", ",", ":")):
        return None
    rest = sentence.lstrip("* ")[opening.end() :]
    spans = list(_SPAN.finditer(rest))
    if len(spans) == 1:
        return _inside(spans[0])
    if spans:
        return rest[spans[0].start() : spans[-1].end()]
    return _cut(rest) or None
