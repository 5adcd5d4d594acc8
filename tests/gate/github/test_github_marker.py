"""The marker on the last line: read back as written, and what a person could have seen at a moment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.github.marker import LONGEST_COMMENT, TRAIL, Marker, joined, split
from gate.github.port import Seen

WORDS = st.text(min_size=1, max_size=20)


def shown(revision: int, rollout: str = "r1", trail: tuple[tuple[int, int], ...] = ()) -> Marker:
    return Marker(environment="production", facts={"rollout": rollout, "revision": str(revision)}, shown=trail)


@given(environment=WORDS, rollout=WORDS, text=st.text(max_size=200))
def test_a_marker_reads_back_whatever_the_environment_is_called(environment: str, rollout: str, text: str) -> None:
    marker = Marker(environment=environment, facts={"rollout": rollout, "revision": "7"}, shown=((5, 10), (6, 20)))
    assert "-->" not in marker.line.removesuffix("-->")
    assert split(joined(text, marker))[1] == marker


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no marker",
        "<!-- rampgate:production --> and more",
        "<!-- rampgate:production -->\nand more",
        "> <!-- rampgate:production -->",
        "`<!-- rampgate:production -->`",
        "<!-- rampgate: -->",
        "<!-- rampgate:a b -->",
        "<!-- other:production -->",
    ],
)
def test_only_a_whole_last_line_is_a_marker(body: str) -> None:
    assert split(body)[1] is None


def test_a_marker_survives_blank_lines_and_the_line_ends_of_a_browser() -> None:
    text, marker = split("hello\r\n\r\n<!-- rampgate:production revision=7 -->\r\n\n")
    assert text == "hello"
    assert marker is not None
    assert (marker.environment, marker.revision, marker.rollout) == ("production", 7, None)


@pytest.mark.parametrize("revision", ["", "x", "-1", "٣", "9" * 40])
def test_a_revision_that_is_no_number_is_none(revision: str) -> None:
    assert Marker(environment="p", facts={"revision": revision}).revision is None


def test_a_longer_text_than_github_takes_is_cut_and_keeps_its_marker() -> None:
    body = joined("x" * 70_000, shown(7, trail=tuple((n, n) for n in range(TRAIL))))
    assert len(body) <= LONGEST_COMMENT
    assert split(body)[1] is not None


def test_what_was_seen_is_the_last_revision_shown_before_the_moment() -> None:
    marker = shown(5)
    marker = shown(6).after(marker, edited_at=100)  # 5 was shown since 100
    marker = shown(6).after(marker, edited_at=200)  # 6 since 200, edited again
    marker = shown(8).after(marker, edited_at=300)
    assert marker.shown == ((5, 100), (6, 200))
    edited_at = 400
    assert marker.seen(450, edited_at) == Seen(rollout="r1", revision=8)
    assert marker.seen(400, edited_at) == Seen(rollout="r1", revision=6), "an edit in the same second came after"
    assert marker.seen(350, edited_at) == Seen(rollout="r1", revision=6)
    assert marker.seen(150, edited_at) == Seen(rollout="r1", revision=5)
    assert marker.seen(50, edited_at) == Seen(rollout="r1", revision=5), "older than all: the oldest, which is refused"


def test_a_figure_updated_in_the_same_revision_does_not_make_it_unseen() -> None:
    marker = shown(6).after(shown(6), edited_at=100)
    assert marker.seen(150, edited_at=160) == Seen(rollout="r1", revision=6)


def test_another_rollout_begins_a_new_trail() -> None:
    old = shown(9).after(shown(8), edited_at=100)
    assert shown(1, rollout="r2").after(old, edited_at=200).shown == ()


def test_the_trail_stays_short() -> None:
    marker = shown(0)
    for revision in range(1, 100):
        marker = shown(revision).after(marker, edited_at=revision)
    assert len(marker.shown) == TRAIL
    assert marker.shown[-1] == (98, 99)
