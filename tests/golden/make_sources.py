"""Writes the raw records of `tests/golden/<name>/source`, each in the layout of its data set.

    python tests/golden/make_sources.py

The problems and the pictures are made up here; only the columns and file names are the published ones (README.md).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
from PIL import Image, ImageDraw

HERE = Path(__file__).parent
Rows = Sequence[Mapping[str, Any]]


def picture(number: int, form: str = "PNG") -> bytes:
    """A small picture that depends on `number`."""
    image = Image.new("RGB", (40 + number % 7, 32), "white")
    draw = ImageDraw.Draw(image)
    draw.polygon([(3, 28), (8 + number % 25, 4), (36, 20 + number % 9)], outline="black")
    draw.ellipse([20, 6, 24 + number % 5, 12], fill="gray")
    file = BytesIO()
    image.save(file, form)
    return file.getvalue()


def parquet(path: Path, rows: Rows, image: str | None = None, *, many: bool = False) -> None:
    """Write rows as the Hub keeps them: the column `image` holds encoded pictures as an Image feature."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = [dict(row) for row in rows]
    for row in made if image else ():
        encoded = [{"bytes": one, "path": None} for one in row[image]] if many else {"bytes": row[image], "path": None}
        row[image] = encoded
    table = datasets.Dataset.from_list(made)
    if image:
        table = table.cast_column(image, datasets.List(datasets.Image()) if many else datasets.Image())
    table.to_parquet(path)


def lines(path: Path, rows: Rows) -> None:
    """Write rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def put(path: Path, data: bytes) -> None:
    """Write bytes, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def r1v(root: Path) -> None:
    """`geoqa_r1v` and `clevr_count` share R1-V's columns."""
    geo = [
        ("In the figure, angle A is 35 degrees. What is its complement?", "55°"),
        ("Triangle PQR has PQ = 6 and QR = 8 with a right angle at Q. Find PR.", "10"),
        ("A square has the diagonal 4√2. What is its side?", "4cm"),
    ]
    rows = [{"image": picture(n), "problem": q, "solution": f"<answer> {a} </answer>"} for n, (q, a) in enumerate(geo)]
    parquet(root / "geoqa_r1v/source/data/train-00000-of-00001.parquet", rows, "image")
    rows = [
        {
            "image": picture(20 + n),
            "problem": "How many items are there in the image?",
            "solution": f"<answer> {n} </answer>",
        }
        for n in (3, 5, 9)
    ]
    parquet(root / "clevr_count/source/data/train-00000-of-00001.parquet", rows, "image")


def geoqa_plus(root: Path) -> None:
    rows = [
        {
            "images": [picture(30)],
            "problem": "<image>If AB is parallel to CD and angle 1 is 40°, find angle 2.",
            "answer": "140°",
        },
        {"images": [picture(31)], "problem": "<image>Find x. Choices: A. 3 B. 4 C. 5 D. 6", "answer": "C"},
    ]
    parquet(root / "geoqa_plus/source/data/train-00000-of-00001.parquet", rows, "images", many=True)
    rows = [{"images": [picture(32)], "problem": "<image>The radius is 3. Find the area.", "answer": "9π"}]
    parquet(root / "geoqa_plus/source/data/test-00000-of-00001.parquet", rows, "images", many=True)


def geoqa_formalgeo(root: Path) -> None:
    source = root / "geoqa_formalgeo/source"
    texts = [
        ("如图,∠A=50°,AB=AC,则∠B的度数是()", "65"),
        ("如图,AC=2,BC=4,∠C=90°,则AB=()", "2*sqrt(5)"),
        ("如图,求tanA()", "3/4"),
    ]
    rows = [
        {
            "problem_id": 900 + n,
            "source": f"GeoQA-{n}",
            "problem_level": 1,
            "problem_text_cn": text,
            "problem_text_en": "find N_0",
            "problem_answer": answer,
            "goal_cdl": "Value(x)",
            "image": f"images/{n}.png",
        }
        for n, (text, answer) in enumerate(texts)
    ]
    lines(source / "rows.jsonl", rows)
    for n in range(len(rows)):
        put(source / "images" / f"{n}.png", picture(40 + n))


def mmk12(root: Path) -> None:
    open_ = [
        {
            "id": f"c0ffee-{n}",
            "question": f"As shown, the leg is {n + 3}. Find twice the leg.",
            "answer": f"${2 * n + 6}$",
            "subject": "math",
            "image": picture(50 + n),
        }
        for n in range(2)
    ]
    parquet(root / "mmk12/source/data/train-00000-of-00001.parquet", open_, "image")
    choice = [
        {
            "id": "beef-1",
            "question": "Which force acts on the block?\nA. gravity only\nB. friction only\nC. both\nD. none",
            "answer": "C",
            "subject": "physics",
            "image": picture(53),
        }
    ]
    parquet(root / "mmk12/source/data/test-00000-of-00001.parquet", choice, "image")


def mathvista(root: Path) -> None:
    source = root / "mathvista/source"
    facts = {
        "split": "testmini",
        "language": "english",
        "img_width": 40,
        "img_height": 32,
        "source": "made up",
        "category": "math-targeted-vqa",
        "task": "geometry problem solving",
        "context": "geometry diagram",
        "grade": "high school",
        "skills": ["geometry reasoning"],
    }
    rows = [
        ("Find the measure of angle B.", ["30°", "45°", "60°", "90°"], "60°", "multi_choice", "text", None),
        ("How many bars are taller than 5?", None, "3", "free_form", "integer", None),
        ("What is the mass in kilograms?", None, "1.2", "free_form", "float", 1.0),
    ]
    made = {
        str(n): {
            "question": q,
            "image": f"images/{n}.jpg",
            "choices": c,
            "unit": None,
            "precision": p,
            "answer": a,
            "question_type": kind,
            "answer_type": what,
            "pid": str(n),
            "metadata": facts,
        }
        for n, (q, c, a, kind, what, p) in enumerate(rows, 1)
    }
    put(source / "testmini.json", json.dumps(made, ensure_ascii=False, indent=1).encode())
    for n in range(1, 4):
        put(source / "images" / f"{n}.jpg", picture(60 + n, "JPEG"))


def mathverse(root: Path) -> None:
    source = root / "mathverse/source"
    whole = "In triangle ABC, angle A is 50°. Find angle B.\nChoices:\nA:50°\nB:65°\nC:70°\nD:80°"
    rows = [
        ("1", "Text Dominant", whole, "B", "multi-choice", whole),
        ("2", "Vision Only", "", "B", "multi-choice", whole),
        ("3", "Text Lite", "Find the radius of the circle.", "5 cm", "free-form", "Find the radius of the circle."),
    ]
    made = [
        {
            "sample_index": index,
            "problem_index": "1",
            "problem_version": version,
            "question": q,
            "image": f"images_version_5/{index}.png",
            "answer": a,
            "question_type": kind,
            "metadata": {"split": "testmini", "source": "made up", "subject": "Plane Geometry", "subfield": "Angle"},
            "query_wo": q,
            "query_cot": q,
            "question_for_eval": full,
        }
        for index, version, q, a, kind, full in rows
    ]
    put(source / "testmini.json", json.dumps(made, ensure_ascii=False, indent=1).encode())
    with zipfile.ZipFile(source / "images.zip", "w") as archive:
        for row in made:
            entry = zipfile.ZipInfo(f"images/{row['image']}", (2024, 1, 1, 0, 0, 0))
            archive.writestr(entry, picture(70 + int(row["sample_index"])))


def mathvision(root: Path) -> None:
    rows = [
        {
            "id": "1",
            "question": "How many triangles are in the figure?\n<image1>",
            "options": [],
            "answer": "7",
            "solution": None,
            "level": 2,
            "subject": "combinatorial geometry",
        },
        {
            "id": "2",
            "question": "Which piece fits?\n<image1> and <image2>",
            "options": ["A", "B", "C", "D", "E"],
            "answer": "D",
            "solution": None,
            "level": 1,
            "subject": "logic",
        },
        {
            "id": "3",
            "question": "Find the area of the square.\\n<image1>",
            "options": [
                "$4 \\mathrm{~cm}^{2}$",
                "$9 \\mathrm{~cm}^{2}$",
                "$16 \\mathrm{~cm}^{2}$",
                "$25 \\mathrm{~cm}^{2}$",
                "$36 \\mathrm{~cm}^{2}$",
            ],
            "answer": "C",
            "solution": "Count the cells.",
            "level": 3,
            "subject": "metric geometry - area",
        },
    ]
    made = [
        {**row, "image": f"images/{row['id']}.jpg", "decoded_image": picture(80 + n, "JPEG")}
        for n, row in enumerate(rows)
    ]
    parquet(root / "mathvision/source/data/test-00000-of-00001-abcdef.parquet", made, "decoded_image")


def wemath(root: Path) -> None:
    source = root / "wemath/source"
    rows = [
        ("A pool is 4 m by 3 m. What is its area?", "A. 7;B. 12;C. 14;D. 24; E. No correct answer", "B", "2steps_1"),
        ("What is its perimeter?", "A. 7; B. 12; C. 14; D. 24; E. No correct answer", "C", "2steps_2"),
        (
            "Paint costs 2 for a square metre. What does it cost?",
            "A. 12; B. 14; C. 28; D. No correct answer",
            "D",
            "2steps_multi",
        ),
    ]
    made = [
        {
            "ID": f"3@{n}",
            "split": "testmini",
            "knowledge concept": "Area of Rectangles",
            "question": q,
            "option": o,
            "answer": a,
            "image_path": f"2steps/image/{n}.png",
            "key": key,
            "question number": n,
            "knowledge concept description": "Area ...",
        }
        for n, (q, o, a, key) in enumerate(rows, 1)
    ]
    put(source / "testmini.json", json.dumps(made, ensure_ascii=False, indent=1).encode())
    for n in range(1, 4):
        put(source / f"2steps/image/{n}.png", picture(90 + n))


def multimodal_open_r1(root: Path) -> None:
    rows = [
        ("Find the side. Choices: A. 2 B. 3 C. 4 D. 5", "B", "Half of six is three."),
        ("What is the sum of the angles?", "180", "Every triangle has it."),
        ("Is the triangle isosceles?\nA. Yes\nB. No", "A", "Two sides agree."),
    ]
    made = [
        {
            "image": picture(100 + n),
            "problem": q,
            "solution": f"<think>{why}</think>\n\n<answer>{a}</answer>",
            "original_question": q,
            "original_answer": f"Answer: {a}",
        }
        for n, (q, a, why) in enumerate(rows)
    ]
    parquet(root / "multimodal_open_r1/source/data/train-00000-of-00001.parquet", made, "image")


def virl39k(root: Path) -> None:
    rows = [
        ("<image>What is the height of the tower?", "\\boxed{42}", ["images/a-0.jpg"]),
        (
            "<image><image>Which diagram is symmetric?\n(A) the first\n(B) the second",
            "\\boxed{B}",
            ["images/b-0.jpg", "images/b-1.jpg"],
        ),
        ("Compute $\\frac{1}{2}+\\frac{1}{3}$.", "\\boxed{\\frac{5}{6}}", []),
    ]
    made = [
        {
            "question": q,
            "answer": a,
            "PassRate_32BTrained": 0.75,
            "PassRate_7BBase": 0.25,
            "category": "made up",
            "source": "made up",
            "qid": f"made-up-{n}",
            "image": names,
        }
        for n, (q, a, names) in enumerate(rows)
    ]
    parquet(root / "virl39k/source/39Krelease.parquet", made)
    with zipfile.ZipFile(root / "virl39k/source/images.zip", "w") as archive:
        for n, name in enumerate(name for _, _, names in rows for name in names):
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), picture(110 + n, "JPEG"))


def texts(root: Path) -> None:
    """The text-only sets: `math12k`, `gsm8k`, `dapo17k`."""
    math = [
        ("What is $3^2$?", "9", "Prealgebra"),
        ("Factor $x^2-1$.", "(x-1)(x+1)", "Algebra"),
        ("Find $\\tan 45^\\circ$.", "1", "Geometry"),
    ]
    rows = [{"problem": q, "answer": a, "subject": s, "level": 1, "solution": f"It is ${a}$."} for q, a, s in math]
    parquet(root / "math12k/source/data/train-00000-of-00001.parquet", rows[:2])
    parquet(root / "math12k/source/data/test-00000-of-00001.parquet", rows[2:])
    word = [
        ("Tom has 3 boxes of 4 pens. How many pens?", "3 boxes of 4 are <<3*4=12>>12.\n#### 12"),
        ("A car costs 1,200 and a bike 300. What do they cost?", "1200+300=1500.\n#### 1,500"),
        ("Half of 9 is?", "9/2=4.5.\n#### 4.5"),
    ]
    rows = [{"question": q, "answer": a} for q, a in word]
    parquet(root / "gsm8k/source/main/train-00000-of-00001.parquet", rows[:2])
    parquet(root / "gsm8k/source/main/test-00000-of-00001.parquet", rows[2:])
    before = (
        "Solve the following math problem step by step. The last line of your response should be of the form "
        "Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\n"
    )
    after = '\n\nRemember to put your answer on its own line after "Answer:".'
    numbers = [
        ("Find the number of divisors of 12.", "6"),
        ("Find the remainder of $2^{10}$ by 7.", "2"),
        ("Find $5!$.", "120"),
    ]
    rows = [
        {
            "data_source": "math_dapo",
            "prompt": [{"content": before + q + after, "role": "user"}],
            "ability": "MATH",
            "reward_model": {"ground_truth": a, "style": "rule-lighteval/MATH_v2"},
            "extra_info": {"index": str(n)},
        }
        for n, (q, a) in enumerate(numbers)
    ]
    parquet(root / "dapo17k/source/data/dapo-math-17k.parquet", rows)


MAKERS = (
    r1v,
    geoqa_plus,
    geoqa_formalgeo,
    mmk12,
    mathvista,
    mathverse,
    mathvision,
    wemath,
    multimodal_open_r1,
    virl39k,
    texts,
)

if __name__ == "__main__":
    for make in MAKERS:
        make(HERE)
