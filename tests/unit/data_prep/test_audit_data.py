"""Planted leaks are found and little else; scopes, statistics, and a page that is whole and escaped."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.audit_leaks import PLANTS, generated, score
from benchmarks.rewordings import REWORDINGS, word_problem
from data_prep.__main__ import main
from data_prep.audit_data import CLASH, LEAKAGE, NAMED, PICTURE_ALONE, REPEATED, DataAudit, audit
from data_prep.audit_page import page
from data_prep.duplicates import find_pairs
from data_prep.fingerprints import Fingerprint, words_of
from data_prep.statistics import answer_kind
from data_prep.write import split_writer
from tests.unit.data_prep.world import diagram, with_comment
from uec_vlm.errors import ConfigError, DataError
from uec_vlm.records import Sample


def sample(name: str, problem: str, *images: bytes, answer: str = "5", choices: tuple[str, ...] = ()) -> Sample:
    sizes = {"image_sizes": [[64, 48]] * len(images)}
    return Sample(name, "made", problem, answer, images, choices, None if choices else 5.0, sizes)


def folder(root: Path, **splits: list[Sample]) -> Path:
    root.mkdir()
    for split, samples in splits.items():
        with split_writer(root / f"{split}.parquet") as writer:
            for one in samples:
                writer.write(one)
    return root


def audited(root: Path, *against: Path) -> DataAudit:
    return audit(root, against, image_tokens=lambda width, height: 7)


def test_planted_leaks_are_found_with_hardly_a_false_alarm(tmp_path: Path) -> None:
    texts = [word_problem(number) for number in range(96)]
    result = score(generated(96, seed=3), texts, tmp_path, seed=3)
    assert set(result.planted) == set(PLANTS) and min(result.planted.values()) >= 3
    with_picture = [kind for kind in PLANTS if "text only" not in kind]
    assert all(result.found[kind] == result.planted[kind] for kind in with_picture)
    share = {how: result.found[f"text only, {how}"] / result.planted[f"text only, {how}"] for how in REWORDINGS}
    assert share["synonyms"] == share["question first"] == 1.0 and share["renamed"] >= 0.5
    assert share["rewritten"] < 1.0, (
        "docs/your_own_data.md says that such texts are often missed: tell what is found now"
    )
    assert sum(result.alarms.values()) <= 1
    assert result.pairs > 10_000


def test_pairs_are_told_by_scope_and_kind(tmp_path: Path) -> None:
    one, other = diagram(1), diagram(40)
    mine = folder(
        tmp_path / "mine",
        train=[sample("a", "<image>Find the long side of it, please, in cm.", one), sample("b", "<image>Find x.", one)],
        test=[sample("c", "<image>find the LONG side of it please in $cm$", with_comment(one, "x"), answer="6")],
    )
    eval_set = folder(
        tmp_path / "eval", test=[sample("d", "<image>Find y.", one), sample("e", "<image>Find x.", other)]
    )
    found = audited(mine, eval_set)
    assert {scope: dict(kinds) for scope, kinds in found.table().items()} == {
        "train": {"exact picture": 1},
        "train / test": {"similar picture and text": 1, "similar picture": 1},
        "train / eval:test": {"exact picture": 2},
        "test / eval:test": {"similar picture": 1},
    }
    assert found.leaking_rows() == {"test / eval:test": 1, "train / eval:test": 1, "train / test": 1}
    same = {(found.rows[p.one].id, found.rows[p.other].id): p.same_answer for p in found.pairs}
    assert same["a", "b"] and not same["a", "c"]


def test_the_last_lines_say_what_the_findings_mean_and_what_to_do(tmp_path: Path) -> None:
    text, one, other = "<image>Find the long side of it, please, in cm.", diagram(1), diagram(45, size=(64, 90))
    train = [sample("a", text, one), sample("b", "<image>Name that colour.", other)]
    leaking = audited(folder(tmp_path / "x", train=train, test=[sample("c", text, one)])).lines()
    assert leaking[-2:] == [LEAKAGE, NAMED] and "row out of your table and prepare again" in LEAKAGE
    figure = audited(folder(tmp_path / "y", train=train, test=[sample("c", "<image>Find y.", one)])).lines()
    assert figure[-3:] == [LEAKAGE, PICTURE_ALONE, NAMED]
    repeated = audited(folder(tmp_path / "z", train=[*train, sample("c", text, one, answer="6")])).lines()
    assert repeated[-3:] == [REPEATED, f"1 {CLASH}", NAMED]
    assert audited(folder(tmp_path / "w", train=train)).lines()[-1] == "  no two rows share a picture or a text"


def test_other_numbers_make_another_text_beside_the_same_picture(tmp_path: Path) -> None:
    texts = (
        "One side is 3, the other 4. How long is the third?",
        "One side is 5, the other 12. How long is the third?",
    )
    rows = [sample(name, f"<image>{text}", diagram(1)) for name, text in zip("ab", texts, strict=True)]
    assert [pair.kind for pair in audited(folder(tmp_path / "x", train=rows)).pairs] == ["exact picture"]


def row(text: str, *, split: str = "train") -> Fingerprint:
    every, content = words_of(text)
    return Fingerprint("x", split, text, (), content, hashlib.sha256(" ".join(every).encode()).digest()[:16], "1")


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("Ann has 3 red and 4 blue pens here.", "ann has 3 red and 4 blue  pens here", "exact text"),
        ("Angle $\\angle ABC$ is 40^\\circ, side AB is 3.", "Angle ∠ABC is 40°, side AB is 3", "exact text"),
        ("Ann has 3 red and 4 blue pens here.", "Ann has 3 red and 5 blue pens here.", None),
        (
            "A train goes 60 km in 2 hours. How fast?",
            "How fast goes a train that does 60 km in 2 hours?",
            "similar text",
        ),
        ("Sum of all primes below the number twenty", "Shape of every leaf in that old garden", None),
        ("Find x.", "Find x.", None),
    ],
)
def test_texts_alone_count_where_they_say_enough(one: str, other: str, kind: str | None) -> None:
    assert [pair.kind for pair in find_pairs([row(one), row(other)]).pairs] == ([] if kind is None else [kind])


def test_evaluation_rows_are_compared_however_many_share_their_numbers() -> None:
    names = ["q" + "".join("abcdefghij"[int(digit)] for digit in f"{number:03}") for number in range(900)]
    train = [row(f"{name} cuts 3 and 4 for {name}z, {name}y helps") for name in names]
    leaks = [row(f"{names[n]}z and {names[n]}y: {names[n]} cuts 3, 4", split="test") for n in (5, 500, 899)]
    pairs = find_pairs([*train, *leaks]).pairs
    assert [(pair.one, pair.other, pair.kind) for pair in pairs] == [
        (5, 900, "similar text"), (500, 901, "similar text"), (899, 902, "similar text")
    ]  # fmt: skip


def test_of_very_many_equal_texts_those_of_a_split_are_compared_in_part_and_that_is_told(tmp_path: Path) -> None:
    text = "One two-digit number out of a hundred is drawn anew"
    rows = [row(text)] * 450 + [row(text, split="test")] * 3
    search = find_pairs(rows)
    assert search.cut == 1 + 4, "the text, and each of its rarest words"
    assert sum(rows[pair.one].split != rows[pair.other].split for pair in search.pairs) == 450 * 3
    assert sum(pair.other < 450 for pair in search.pairs) == 400 * 399 // 2
    assert find_pairs(rows[:400]).cut == 0
    samples = [sample(str(number), text) for number in range(401)]
    found = audited(folder(tmp_path / "x", train=samples))
    assert found.as_json()["groups_compared_in_part"] == 5
    told = "5 groups of alike texts: of a split only the first 400 were compared with one another"
    assert any(told in line for line in found.lines()) and told in page(found, found.as_json())


def test_the_same_question_about_another_picture_is_another_problem(tmp_path: Path) -> None:
    text = "<image>How long is the longest side of the shown triangle ABC in centimetres?"
    rows = [sample("a", text, diagram(1)), sample("b", text, diagram(45, size=(64, 90)))]
    assert audited(folder(tmp_path / "x", train=rows)).pairs == ()
    texts_only = [replace(one, problem=text.removeprefix("<image>"), images=()) for one in rows]
    assert len(audited(folder(tmp_path / "y", train=texts_only)).pairs) == 1


def test_statistics_by_hand(tmp_path: Path) -> None:
    rows = [
        sample("a", "<image>one two", diagram(1)),
        sample("b", "<image><image>three", diagram(2), diagram(3), choices=("5", "6")),
        sample("c", "four", answer="0.5"),
    ]
    one = audited(folder(tmp_path / "x", train=rows)).statistics["train"].summary()
    assert (one["rows"], one["pictures"], one["choices"]) == (3, {"0": 1, "1": 1, "2": 1}, {"0": 2, "2": 1})
    assert one["answers"] == {"choice": 1, "decimal": 1, "integer": 1}
    assert one["measures"]["image tokens"] == {
        "count": 3, "mean": 7.0, "p0": 7.0, "p5": 7.0, "p50": 7.0, "p95": 7.0, "p100": 7.0
    }  # fmt: skip
    assert (one["measures"]["problem words"]["p0"], one["measures"]["problem words"]["p100"]) == (1.0, 2.0)
    assert [answer_kind(*case, []) for case in (("-1,000", -1000.0), ("\\frac{1}{2}", 0.5), ("red", None))] == [
        "integer", "number in another form", "text"
    ]  # fmt: skip


def test_the_command_writes_a_page_that_is_whole_and_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "<image><script>alert(1)</script> & the very same words again"
    rows = [sample("a", evil, diagram(1)), sample("b", evil, diagram(1))]
    mine = folder(tmp_path / "mine", train=rows, test=rows[:1])
    with pytest.raises(SystemExit) as ended:
        main(["audit", str(mine), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert not ended.value.code
    assert "train / test: 2 pairs of exact picture and text" in printed
    written = (tmp_path / "out" / "audit.html").read_text()
    assert "<script" not in written and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; the very" in written
    assert re.findall(r'(?:src|href)="(?!data:image/png;base64,)', written) == []
    assert written.count("data:image/png;base64,") >= 6 + 5, "pictures of the pairs, and the plots"
    known = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert known["named"]["train: exact picture and text"] == [{"rows": ["a", "b"], "same_answer": True}]


def test_image_tokens_are_those_of_the_processor() -> None:
    from data_prep.statistics import image_token_counter

    count = image_token_counter(min_pixels=3136, max_pixels=1_003_520)
    assert [count(112, 112), count(280, 140), count(28, 28), count(4000, 4000)] == [16, 50, 4, 1225]


def test_folders_that_cannot_be_audited_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no train\.parquet, validation\.parquet or test\.parquet is there"):
        audited(tmp_path)
    mine = folder(tmp_path / "x", train=[sample("a", "q")])
    (tmp_path / "y").mkdir()
    with pytest.raises(ConfigError, match="must have different names"):
        audited(mine, folder(tmp_path / "y" / "x", train=[sample("a", "q")]))
    broken = folder(tmp_path / "z", train=[sample("a", "<image>q", b"no picture")])
    with pytest.raises(DataError, match=r"a picture cannot be decoded.*prepare the set again"):
        audited(broken)
