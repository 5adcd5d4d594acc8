"""Buckets are flagd's second kind, to the bit: known vectors, and the formula it is defined by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampgate.bucketing import BUCKETING, MAX_WEIGHTS, SPACE, cohort, first_share, hash_of, split

# MurmurHash3_x86_32, seed 0: vectors published with the algorithm and with the Go library that flagd uses, and
# the keys that flagd's testbed found for the edges of the hash space.
VECTORS = {
    "": 0,
    "test": 0xBA6BD213,
    "hello": 0x248BFA47,
    "hello, world": 0x149BBB7F,
    "Hello, world!": 0xC0363E43,
    "19 Jan 2038 at 3:14:07 AM": 0xE31E8A70,
    "The quick brown fox jumps over the lazy dog": 0x2E4FF723,
    "ejOoVL": 0,
    "bY9fO-": 1,
    "SI7p-": 0x7FFFFFFF,
    "6LvT0": 0x80000000,
    "ceQdGm": 0xFFFFFFFF,
}

some_weights = st.lists(st.integers(-5, 200) | st.integers(0, MAX_WEIGHTS), min_size=1, max_size=6)
hashes = st.integers(0, SPACE - 1) | st.sampled_from([0, 1, SPACE // 2 - 1, SPACE // 2, SPACE - 1])


def by_formula(weights: list[int], hashed: int) -> int | None:
    """flagd's own words: ``bucket = (hash * total) >> 32``, and the first entry whose reach is beyond it."""
    clamped = [max(0, weight) for weight in weights]
    total = sum(clamped)
    if total > MAX_WEIGHTS:
        return None
    bucket, reached = (hashed * total) >> 32, 0
    for number, weight in enumerate(clamped):
        reached += weight
        if bucket < reached:
            return number
    return None


def test_the_bucketing_has_a_name() -> None:
    assert BUCKETING == "v2"


@pytest.mark.parametrize("key", VECTORS)
def test_the_hash_gives_the_published_values(key: str) -> None:
    assert hash_of(key) == VECTORS[key]


@pytest.mark.parametrize("key", ["\ud800", "x\udc00y"])
def test_a_key_without_utf_8_form_is_refused(key: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        hash_of(key)


@given(weights=some_weights, hashed=hashes)
def test_a_cut_decides_as_the_formula_does(weights: list[int], hashed: int) -> None:
    cut = split(weights)
    assert (None if cut is None else cut.entry(hashed)) == by_formula(weights, hashed)


@given(weights=some_weights)
def test_a_cut_decides_as_the_formula_does_at_each_of_its_edges(weights: list[int]) -> None:
    cut = split(weights)
    for bound in () if cut is None else cut.bounds:
        for hashed in (bound - 1, bound):
            if cut is not None and 0 <= hashed < SPACE:
                assert cut.entry(hashed) == by_formula(weights, hashed)


@pytest.mark.parametrize("weights", [[], [0], [0, -3], [MAX_WEIGHTS, 1]])
def test_weights_that_decide_nothing_cut_nothing(weights: list[int]) -> None:
    assert split(weights) is None


def test_the_largest_sum_of_weights_still_cuts() -> None:
    assert split([MAX_WEIGHTS - 1, 1]) is not None


@given(salt=st.text(st.characters(codec="utf-8"), max_size=5), key=st.text(st.characters(codec="utf-8"), max_size=12))
def test_the_preview_says_from_which_share_on_a_user_is_in(salt: str, key: str) -> None:
    share, hashed = first_share(salt, key), hash_of(salt + key)
    inside, outside = split([share, 100_000 - share]), split([share - 1, 100_001 - share])
    assert inside is not None
    assert inside.entry(hashed) == 0
    assert outside is not None
    assert outside.entry(hashed) == 1
    assert share - 1 <= cohort(salt, key) * 1000 < share
