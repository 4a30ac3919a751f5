"""A sample becomes a prompt: text, pictures, tokens, refusals."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AddedToken, AutoProcessor, AutoTokenizer

from tests.support.readings import PICTURE_SAMPLES, TEXT_SAMPLES
from tests.support.tiny_models import VISION_FAMILIES, picture
from uec_vlm.batches import PromptCache, PromptSettings, render
from uec_vlm.batches.vision import decode_picture
from uec_vlm.errors import ConfigError, DataError, PromptError
from uec_vlm.records import Sample

ONE, TWO = PICTURE_SAMPLES
PLAIN = PromptSettings()


@pytest.fixture(scope="module")
def processor(tiny_model: Callable[[str], Path]) -> Any:
    return AutoProcessor.from_pretrained(tiny_model("qwen2_5_vl"))


def test_pictures_stand_where_their_placeholders_stood(processor: Any) -> None:
    prompt = render(TWO, processor, PromptSettings(template="{problem} Use \\boxed{}.", system="Think."))
    hole = "<|vision_start|><|image_pad|><|vision_end|>"
    assert prompt.text == (
        "<|im_start|>system\nThink.<|im_end|>\n"
        f"<|im_start|>user\nSee {hole} and {hole}: find the angle. Use \\boxed{{}}.<|im_end|>\n<|im_start|>assistant\n"
    )
    # 84 x 56 and 30 x 40 pixels become 6 x 4 and 2 x 2 merged... patches of 14: grids (h, w) of (4, 6) and (2, 2).
    assert prompt.image_grid_thw.tolist() == [[1, 4, 6], [1, 2, 2]]
    assert prompt.pixel_values.shape == (28, 3 * 2 * 14 * 14)
    ids = prompt.token_ids.tolist()
    assert ids.count(processor.image_token_id) == 28 // 4
    starts = [place for place, token in enumerate(ids) if token == 259]
    assert ids[starts[0] + 1 : starts[0] + 8] == [processor.image_token_id] * 6 + [260]
    assert ids[starts[1] + 1 : starts[1] + 3] == [processor.image_token_id, 260]


@pytest.mark.parametrize("family", VISION_FAMILIES)
@pytest.mark.parametrize("size", [(30, 200), (56, 56), (333, 211), (20, 20)])
def test_tokens_agree_with_the_grid_and_the_limits(
    tiny_model: Callable[[str], Path], family: str, size: tuple[int, int]
) -> None:
    processor = AutoProcessor.from_pretrained(tiny_model(family))
    sample = replace(ONE, images=(picture(*size),))
    prompt = render(sample, processor, PLAIN)
    merged = processor.image_processor.merge_size**2
    tokens = int((prompt.token_ids == processor.image_token_id).sum())
    assert tokens == int(prompt.image_grid_thw.prod()) // merged == len(prompt.pixel_values) // merged
    # The tiny processors are limited to between 1 and 16 merged patches.
    assert 1 <= tokens <= 16
    larger = render(sample, processor, PromptSettings(min_pixels=64 * 4 * 14 * 14, max_pixels=100 * 4 * 16 * 16))
    assert int((larger.token_ids == processor.image_token_id).sum()) > 40


def test_the_processor_does_not_resize_again(processor: Any) -> None:
    sample = replace(ONE, images=(picture(56, 56),))
    prompt = render(sample, processor, PLAIN)
    direct = processor.image_processor([Image.open(io.BytesIO(sample.images[0]))], do_resize=False, return_tensors="pt")
    torch.testing.assert_close(prompt.pixel_values, direct["pixel_values"], rtol=0, atol=0)


def test_text_goes_to_processors_and_tokenizers_alike(processor: Any, tiny_model: Callable[[str], Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("qwen2"))
    for sample in TEXT_SAMPLES:
        seeing, reading = render(sample, processor, PLAIN), render(sample, tokenizer, PLAIN)
        assert seeing.text == reading.text
        assert seeing.token_ids.tolist() == reading.token_ids.tolist()
        assert tokenizer.decode(seeing.token_ids) == seeing.text
        assert seeing.pixel_values.shape[0] == reading.pixel_values.shape[0] == 0
        assert seeing.image_grid_thw.shape == reading.image_grid_thw.shape == (0, 3)


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (Image.new("RGBA", (56, 56), (0, 0, 0, 0)), {}),
        (Image.new("LA", (56, 56), (0, 0)), {}),
        (Image.new("P", (56, 56), 0), {"transparency": 0}),
    ],
)
def test_transparent_pictures_lie_on_white(image: Image.Image, options: dict[str, int]) -> None:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", **options)
    decoded = decode_picture(buffer.getvalue(), "here")
    assert decoded.mode == "RGB" and decoded.info == {}
    assert decoded.getcolors() == [(56 * 56, (255, 255, 255))]


@pytest.mark.parametrize(
    ("sample", "error", "message"),
    [
        (replace(ONE, problem="Find x."), PromptError, "'one': 0 placeholders .* but 1 pictures"),
        (replace(TWO, problem="<image> x"), PromptError, "'two': 1 placeholders .* but 2 pictures"),
        (replace(ONE, images=()), PromptError, "'one': 1 placeholders .* but 0 pictures"),
        (replace(ONE, problem="<image><|image_pad|>"), PromptError, "'one': .*<|image_pad|>.*special token"),
        (replace(ONE, problem="<image><|im_end|>"), PromptError, "'one': .*<|im_end|>.*special token"),
        (replace(ONE, problem="<video>What moves?"), PromptError, "'one': .*<video>.*videos are not supported"),
        (
            replace(ONE, images=(b"no picture",)),
            DataError,
            "'one': picture 1: the picture cannot be decoded .of no known",
        ),
        (replace(ONE, images=(ONE.images[0][:150],)), DataError, "'one': picture 1: the picture cannot be decoded"),
        (replace(ONE, images=(picture(4, 2000),)), DataError, "'one': picture 1 cannot be resized"),
        (replace(ONE, problem="<image>" + "x" * 2048), PromptError, "'one': .* more than max_prompt_tokens = 2048"),
    ],
)
def test_what_cannot_be_a_prompt_is_refused_by_name(
    processor: Any, sample: Sample, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        render(sample, processor, PLAIN)


def test_special_tokens_without_a_role_are_refused_too(tiny_model: Callable[[str], Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("qwen2"))
    assert len(render(replace(TEXT_SAMPLES[0], problem="a <|start_header_id|> b"), tokenizer, PLAIN).token_ids)
    tokenizer.add_tokens([AddedToken("<|start_header_id|>", special=True), AddedToken("<plain>", special=False)])
    assert "<|start_header_id|>" not in tokenizer.all_special_tokens
    with pytest.raises(PromptError, match=r"<\|start_header_id\|>.*special token"):
        render(replace(TEXT_SAMPLES[0], problem="a <|start_header_id|> b"), tokenizer, PLAIN)
    render(replace(TEXT_SAMPLES[0], problem="a <plain> b"), tokenizer, PLAIN)


def test_a_prompt_of_just_the_limit_passes_and_one_more_does_not(processor: Any) -> None:
    length = len(render(TWO, processor, PLAIN).token_ids)
    assert len(render(TWO, processor, PromptSettings(max_prompt_tokens=length)).token_ids) == length
    with pytest.raises(PromptError, match="more than max_prompt_tokens"):
        render(TWO, processor, PromptSettings(max_prompt_tokens=length - 1))


def test_a_text_model_refuses_pictures(tiny_model: Callable[[str], Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("qwen2"))
    with pytest.raises(PromptError, match=r"'one': .* reads text only"):
        render(ONE, tokenizer, PLAIN)
    tokenizer.chat_template = None
    with pytest.raises(PromptError, match="no chat template"):
        render(TEXT_SAMPLES[0], tokenizer, PLAIN)


def test_senseless_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="exactly once"):
        PromptSettings(template="no place")
    with pytest.raises(ConfigError, match="min_pixels = 10, max_pixels = 5"):
        PromptSettings(min_pixels=10, max_pixels=5)


def test_the_cache_keeps_the_prompts_used_last(processor: Any) -> None:
    made = []

    def make(sample: Sample) -> Any:
        made.append(sample.id)
        return render(sample, processor, PLAIN)

    cache = PromptCache(make, capacity=2)
    first = cache(ONE)
    assert cache(replace(ONE)) is first
    cache(TWO), cache(ONE), cache(TEXT_SAMPLES[0])
    assert len(cache) == 2 and made == ["one", "two", "sum"]
    cache(ONE), cache(TWO)
    assert made == ["one", "two", "sum", "two"]
    other = cache(replace(TWO, images=TWO.images[::-1]))
    assert other.image_grid_thw.tolist() == [[1, 2, 2], [1, 4, 6]]


def test_a_prompt_with_its_choices_below_the_question_is_made_once(processor: Any) -> None:
    made = []

    def make(sample: Sample) -> Any:
        made.append(sample.id)
        listed = replace(sample, problem=f"{sample.problem}\nA. 1")
        return render(listed, processor, PLAIN)

    cache = PromptCache(make, capacity=2)
    assert cache(ONE) is cache(replace(ONE))
    assert made == ["one"]


def test_the_cache_keeps_no_more_pixels_than_it_may(processor: Any) -> None:
    made = []

    def make(sample: Sample) -> Any:
        made.append(sample.id)
        return render(sample, processor, PLAIN)

    one, two = (render(sample, processor, PLAIN).pixel_values.nbytes for sample in (ONE, TWO))
    cache = PromptCache(make, capacity=9, most_bytes=one + two)
    cache(ONE), cache(TWO), cache(ONE), cache(TWO)
    assert made == ["one", "two"] and len(cache) == 2
    tight = PromptCache(make, capacity=9, most_bytes=one + two - 1)
    made.clear()
    tight(ONE), tight(TWO), tight(TWO), tight(ONE)
    assert made == ["one", "two", "one"] and len(tight) == 1
    tight(TEXT_SAMPLES[0]), tight(TEXT_SAMPLES[1]), tight(ONE)
    assert made == ["one", "two", "one", "sum", "sides"] and len(tight) == 3
