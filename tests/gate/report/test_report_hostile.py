"""Whatever stands in whatever field, a reader of Markdown sees text: no tag, link, picture or mention."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from gate.commands import wording
from gate.report import Links, comment, follow_up, replies, summary, tick
from gate.report.short import short
from tests.gate.report.story import STORIES, Story

NASTY = (
    "@ada </details> <!-- rampgate:x --> | `x` ``` [a](https://b.example) ![i](u) #1 GH-2 \n::error::x ##[error]y "
    "\u202e$x$ www.b.example"
)
LINKS = Links(
    run=f"https://r/{NASTY}", dashboard=f"https://d/{NASTY}", successor=f"https://s/{NASTY}",
    outlook=(NASTY,), not_opened=(NASTY,),
)  # fmt: skip
OURS = re.compile(
    r"(\s|</?details>|<details><summary>[^@<]*</summary>|<!-- rampgate:\S+ rollout=\S+ revision=\d+ -->)*"
)
READER = MarkdownIt("gfm-like", {"html": True, "linkify": False})


def hostile(value: Any) -> Any:
    """The same value, every text in it replaced; a text that may be only one of a few words stays."""
    if isinstance(value, str) and not isinstance(value, Enum):
        return NASTY
    if isinstance(value, tuple):
        return tuple(map(hostile, value))
    if isinstance(value, Mapping):
        return {key: hostile(one) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: hostile(getattr(value, one.name)) for one in fields(value) if one.init})
    return value


def tokens(found: list[Token]) -> Iterator[Token]:
    for one in found:
        yield one
        yield from tokens(one.children or [])


def trouble(markdown: str) -> list[str]:
    """What a reader would see in it beside text and what is ours."""
    found = []
    for one in tokens(READER.parse(markdown)):
        if one.type in ("html_inline", "html_block") and not OURS.fullmatch(one.content):
            found.append(f"tag: {one.content}")
        elif one.type == "image" or (
            one.type == "link_open"
            and not str(one.attrs["href"]).startswith(("https://r/", "https://d/", "https://s/"))
        ):
            found.append(f"{one.type}: {one.attrs}")
        elif one.type == "text":
            found += [one.content for sign in ("@a", "#1", "GH-2", "://", "www.b", "\u202e") if sign in one.content]
    return found


def told(story: Story) -> Iterator[str]:
    """All that is said of a story in Markdown."""
    rollout, looks, entries = (hostile(one) for one in (story.rollout(), tuple(story.looks), tuple(story.entries)))
    yield comment(rollout, looks, entries, story.now, LINKS)
    yield summary(rollout, looks, entries, story.now, LINKS)
    for words in (follow_up.issue, follow_up.revert):
        yield words(rollout, looks, entries, LINKS).body
    yield replies.status([(rollout, looks)])
    yield wording.failed(rollout, NASTY)
    yield wording.under_way(rollout, NASTY)
    yield wording.no_run(rollout)


@pytest.mark.parametrize("make", STORIES.values(), ids=STORIES)
def test_what_is_told_of_a_rollout_is_text_whatever_stands_in_it(make: Callable[[], Story]) -> None:
    story = make()
    for markdown in told(story):
        assert trouble(markdown) == []
    rollout, looks = hostile(story.rollout()), tuple(map(hostile, story.looks))
    for line in (
        *(tick(rollout, look) for look in looks),
        short(rollout, looks, hostile(tuple(story.entries)), story.now),
    ):
        assert line.isprintable()
        assert "##[" not in line


def test_an_answer_is_text_whatever_was_asked() -> None:
    answers = (
        wording.nothing_called(NASTY, (NASTY,), NASTY),
        wording.taken_as_reason(NASTY),
        wording.not_refused(NASTY, NASTY, ()),
        wording.several_versions(NASTY, [NASTY]),
        wording.allowed(NASTY, NASTY, NASTY),
        wording.nothing_earlier(NASTY, NASTY, [NASTY]),
        wording.goes_back(NASTY, NASTY),
        wording.did_not_begin(NASTY),
        replies.which(NASTY, [NASTY, NASTY]),
        replies.no_rollout(NASTY),
    )
    for markdown in answers:
        assert trouble(markdown) == []


def test_the_reader_sees_what_is_not_made_harmless() -> None:
    assert len(trouble(NASTY)) > 5
