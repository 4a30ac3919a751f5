"""Answers that are stated without a box or a tag: "The answer is 12.", "#### 12", "**12**", "Therefore, x = 12.".

Only the end of the text is looked at, and only a statement that commits itself counts: a number that merely occurs in
the text, a cut sentence, a question or a list of doubts is no answer.
"""

from __future__ import annotations

import re

from uec_vlm.verifier.limits import STATED_WINDOW

_ANSWER = re.compile(
    r"\b(?:answer|solution|result)s?\b(?:\*\*)?(?:\s+(?!is\b|are\b|was\b)[\w'$\\]{1,20}){0,8}\s*(?:\*\*)?\s*(?::|=|\bis\b(?:\s*:)?|\bare\b|\bequals\b)|答案\s*(?:是|为|:|：)+",
    re.IGNORECASE,
)
_HASHES = re.compile(r"####\s*(.{1,200})")
_BOLD_LINE = re.compile(r"\*\*([^*\n]{1,200})\*\*\s*\.?")
_DISPLAY = re.compile(r"(?:\$\$|\\\[)\s*([^$]{1,400}?)\s*(?:\$\$|\\\])\s*\.?")
_SPAN = re.compile(r"\$\$([^$]{1,400})\$\$|\$([^$]{1,400})\$|\\\((.{1,400}?)\\\)|\\\[(.{1,400}?)\\\]", re.DOTALL)
_CONCLUSION = re.compile(
    r"(?:\*\*)?\s*(?:and\s+)?(?:therefore|thus|hence|so|consequently|finally|in conclusion|we (?:get|find|have|obtain)|this (?:gives|means)|\\therefore|∴|因此|所以|故)\b[,:]?\s*"
    r"(?:we (?:get|find|have|obtain|conclude)\s+)?(?:that\s+)?",
    re.IGNORECASE,
)
_FILLER = re.compile(r"(?:i hope|hope this|thank|please|let me know|note|if you)\b.*", re.IGNORECASE | re.DOTALL)
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_REASON = re.compile(r",?\s+(?:not|because|since|which|where|rather|instead|as)\b.*", re.IGNORECASE | re.DOTALL)
_UNDECIDED = re.compile(
    r"\b(?:since|if|given|because|suppose|assume|let|when|cannot|can't|could|maybe|perhaps|might|need)\b|\?",
    re.IGNORECASE,
)
_COPULA_NUMBER = re.compile(r"(?:\bis|'s|\bequals|=)\s+([-\d][\d.,/]{0,30}\s?[^\s\d]{0,12})[.]?$")


def stated(region: str) -> str | None:
    """The answer that a text without box and tag states, or None."""
    window = region[-STATED_WINDOW:].strip()
    if not window:
        return None
    hashes = _HASHES.findall(window) if "####" in window else []
    if hashes:
        return str(hashes[-1]).strip()
    announced = _announced(window)
    if announced:
        return announced
    whole_text_is_here = len(region.strip()) == len(window)
    last_line = window.rsplit("\n", 1)[-1].strip()
    for pattern in (_BOLD_LINE, _DISPLAY):
        found = pattern.fullmatch(last_line)
        if found:
            return found.group(1)
    sentences = [s for s in _SENTENCE_END.split(window) if s and s.strip() and not _FILLER.match(s.strip())]
    if whole_text_is_here:
        if len(window) <= 120 and "\n" not in window and not _UNDECIDED.search(window):
            return _short_text(window)
        spans = _SPAN.findall(window) if len(window) <= 400 else []
        if len(spans) == 1 and not _UNDECIDED.search(window):
            return "".join(spans[0])
    return _concluded(sentences[-1].strip()) if sentences else None


def _announced(window: str) -> str | None:
    """What follows the last "answer is" or "answer:" of the text."""
    last = None
    for last in _ANSWER.finditer(window):
        pass
    if last is None:
        return None
    rest = window[last.end() :].lstrip(" \t*:").lstrip()
    line = rest.split("\n", 1)[0] if not rest.startswith(("\\[", "$$")) else rest
    span = _SPAN.match(line)
    if span and not line[span.end() :].strip(" .*。").startswith(("and", "or", ",")):
        tail = line[span.end() :].split(".", 1)[0]
        return span.group() + (tail if len(tail) < 20 else "")
    sentence = _cut(line)
    return sentence or None


def _cut(line: str) -> str:
    """The statement at the start of a line: up to the end of the sentence or to a "because"."""
    end = re.search(r"[.。](?=\s|$|\*)|(?<=\d)\.(?=\s|$)", line)
    if end:
        line = line[: end.start()]
    return _REASON.sub("", line).strip().strip("*").strip()


def _short_text(window: str) -> str | None:
    """A text that is nothing but an answer, or one short sentence that ends with it."""
    spans = _SPAN.findall(window)
    found = _COPULA_NUMBER.search(window)
    if found and not spans:
        return found.group(1)
    conclusion = _CONCLUSION.match(window)
    if conclusion:
        return _concluded(window)
    if len(spans) == 1 and re.match(r"[A-Za-z]{2}", window):
        return "".join(spans[0])
    return window


def _concluded(sentence: str) -> str | None:
    """The answer in a last sentence that starts with "therefore" or the like."""
    opening = _CONCLUSION.match(sentence)
    if not opening or sentence.endswith(("?", ",", ":")):
        return None
    rest = sentence[opening.end() :]
    spans = list(_SPAN.finditer(rest))
    if len(spans) == 1:
        return "".join(part or "" for part in spans[0].groups())
    if spans:
        return rest[spans[0].start() : spans[-1].end()]
    return _cut(rest) or None
