"""Drawing tokens with given uniform numbers."""

import math

import pytest
import torch

from uec_vlm.rollouts.sampling import choose, completion_uniforms, draw_tokens, support_logprobs

NONE_OF_FOUR = torch.zeros(4, dtype=torch.bool)


def test_tokens_come_as_often_as_their_probability_says() -> None:
    probabilities = torch.tensor([0.1, 0.2, 0.3, 0.4])
    uniforms = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    tokens = draw_tokens(probabilities.log().expand(1000, 4), uniforms)
    counts = torch.bincount(tokens, minlength=4)
    torch.testing.assert_close(counts / 1000, probabilities, rtol=0, atol=1.1e-3)


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53, 1.0])
@pytest.mark.parametrize("banned", [[0], [3], [0, 3], [0, 1, 3], [1, 2]])
def test_a_token_without_probability_is_never_drawn(uniform: float, banned: list[int]) -> None:
    mask = NONE_OF_FOUR.clone()
    mask[banned] = True
    logits = torch.tensor([[0.3, 0.1, 0.2, 0.7]]).masked_fill(mask, 90.0)
    for temperature in (0.0, 0.5, 2.0):
        token, logprob = choose(
            logits, torch.tensor([uniform], dtype=torch.float64), mask, temperature=temperature, top_p=1.0
        )
        assert int(token) not in banned and float(logprob) <= 0.0
        if temperature > 0:
            rest = (logits / temperature)[:, ~mask].log_softmax(-1)
            kept = [place for place in range(4) if place not in banned]
            torch.testing.assert_close(logprob, rest[0, kept.index(int(token))].unsqueeze(0), rtol=0, atol=1e-6)


def test_the_nucleus_is_the_smallest_set_with_enough_probability() -> None:
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log()
    found = support_logprobs(logits, NONE_OF_FOUR, temperature=1.0, top_p=0.7)
    # .5 + .25 reaches .7: renormalised to 2/3 and 1/3.
    expected = torch.tensor([[-math.inf, math.log(2 / 3), -math.inf, math.log(1 / 3)]])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    single = support_logprobs(logits, NONE_OF_FOUR, temperature=1.0, top_p=1e-6)
    assert single.exp().tolist() == [[0.0, 1.0, 0.0, 0.0]]
    everything = support_logprobs(logits, NONE_OF_FOUR, temperature=1.0, top_p=1.0)
    torch.testing.assert_close(everything, logits, rtol=0, atol=1e-6)


def test_the_temperature_divides_the_logits() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, 4.0]])
    found = support_logprobs(logits, NONE_OF_FOUR, temperature=2.0, top_p=1.0)
    torch.testing.assert_close(found, (logits / 2).log_softmax(-1), rtol=0, atol=1e-6)


def test_greedy_takes_the_likeliest_with_certainty() -> None:
    token, logprob = choose(
        torch.tensor([[0.0, 3.0, 2.0, 1.0]]), torch.tensor([0.99]), NONE_OF_FOUR, temperature=0.0, top_p=0.1
    )
    assert (int(token), float(logprob)) == (1, 0.0)


def test_uniform_numbers_depend_on_seed_and_completion_and_not_on_how_many_are_wanted() -> None:
    numbers = completion_uniforms(5, 2, 1000)
    assert numbers.dtype == torch.float64 and float(numbers.min()) >= 0 and float(numbers.max()) < 1
    assert abs(float(numbers.mean()) - 0.5) < 0.03
    for count in (1, 7, 8, 15, 16, 17, 400):
        assert torch.equal(completion_uniforms(5, 2, count), numbers[:count])
    assert not torch.equal(completion_uniforms(5, 3, 1000), numbers)
    assert not torch.equal(completion_uniforms(6, 2, 1000), numbers)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_are_told_and_not_drawn_out_of_range(temperature: float) -> None:
    logits = torch.full((1, 4), math.nan)
    token, logprob = choose(logits, torch.tensor([0.5]), NONE_OF_FOUR, temperature=temperature, top_p=1.0)
    assert 0 <= int(token) < 4 and math.isnan(float(logprob))
