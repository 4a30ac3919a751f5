"""Clean problem texts: line ends, control characters, LaTeX commands that lost their backslash. Unicode is kept."""

from __future__ import annotations

import re

from uec_vlm.records import IMAGE_PLACEHOLDER

# JSON written without escaping turns "\frac" into a form feed and "rac"; the same happens to \a, \b, \t and \v.
_EATEN = {
    "\x07": ("a", r"ngle|lpha|pprox|rc"),
    "\x08": ("b", r"eta|ar\b|ox|ecause"),
    "\t": ("t", r"riangle|heta|imes|ext\b|an\b"),
    "\x0b": ("v", r"ec\b"),
    "\x0c": ("f", r"rac"),
}
_LOST_BACKSLASH = re.compile("|".join(f"{sign}(?={rest})" for sign, (_, rest) in _EATEN.items()))
# "an" is the one word among them: behind a letter or a sign, or before a word, the tab stood between words.
_ENGLISH_AN = re.compile(r"(?<=[A-Za-z.,;:!?)])\tan\b|\tan [A-Za-z]{2}")
_LINE_ENDS = re.compile(r"\r\n|\r|\u2028|\u2029|\x85")
# Control characters but the line end, soft hyphen, zero-width and bidirectional marks, byte-order mark.
_INVISIBLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ud800-\udfff]")
_SPACES = re.compile(r"[ \u00a0]*\n[ \u00a0\n]*")


def clean_text(text: str) -> tuple[str, tuple[str, ...]]:
    """The cleaned text and the names of the repairs that were made (`reasons.REPAIRS`).

    A tab between words becomes a space; other control and invisible characters vanish. Trimming spaces at both ends
    and around line ends is not counted as a repair.
    """
    repairs = []
    mended = _LOST_BACKSLASH.sub(_with_backslash, text)
    if mended != text:
        repairs.append("lost_backslash")
    joined = _LINE_ENDS.sub("\n", mended)
    if joined != mended:
        repairs.append("line_ends")
    visible = _INVISIBLE.sub("", joined.replace("\t", " "))
    if visible != joined:
        repairs.append("control_characters")
    return _SPACES.sub("\n", visible).strip(), tuple(repairs)


def _with_backslash(lost: re.Match[str]) -> str:
    if _ENGLISH_AN.match(lost.string, lost.start()) and not _inside_math(lost.string[: lost.start()]):
        return lost[0]
    return "\\" + _EATEN[lost[0]][0]


def _inside_math(before: str) -> bool:
    r"""Whether a `$`, `$$`, `\(` or `\[` in the text before is still open."""
    opened = any(before.rfind(f"\\{one}") > before.rfind(f"\\{other}") for one, other in ("()", "[]"))
    return opened or len(re.findall(r"(?<!\\)\$+", before)) % 2 == 1


def without_placeholder(text: str) -> tuple[str, bool]:
    """The text without literal image placeholders, and whether there were any."""
    if IMAGE_PLACEHOLDER not in text:
        return text, False
    return text.replace(IMAGE_PLACEHOLDER, "").strip(), True


def comparable_text(text: str) -> str:
    """A problem's text as leakage is looked for: case, spaces, dollar signs and placeholders do not matter."""
    return re.sub(r"[\s$]+|<image>", "", text).casefold()
