"""The hidden last line of our sticky comment: whose it is, and which revision it showed since when. Pure.

A marker makes a comment ours only together with its author. What it says is for display, and for refusing an order
whose author saw something else; the truth is on the flag server.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self
from urllib.parse import quote, unquote

from gate.foreign import cut
from gate.github.port import Seen

LONGEST_COMMENT = 65_536
"""Characters that GitHub takes in one comment."""

TRAIL = 12
"""How many earlier revisions a marker remembers."""

_LINE = re.compile(r"<!-- rampgate:(?P<environment>[^\s>]+)(?P<facts>(?: [a-z_]+=[^\s>]*)*) -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """`<!-- rampgate:production rollout=r1 revision=7 shown=5@1795391000,6@1795391060 -->`

    ``shown`` holds (revision, moment from which the comment showed it) of the same rollout, oldest first; moments
    are whole seconds on GitHub's clock. The present revision is shown since the comment's last edit, or longer,
    where ``shown`` has it too.
    """

    environment: str
    facts: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[tuple[int, int], ...] = ()

    @property
    def rollout(self) -> str | None:
        return self.facts.get("rollout")

    @property
    def revision(self) -> int | None:
        text = self.facts.get("revision", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None

    @property
    def line(self) -> str:
        facts = dict(self.facts)
        if self.shown:
            facts["shown"] = ",".join(f"{revision}@{since}" for revision, since in self.shown)
        pairs = "".join(f" {key}={quote(value, safe=':/@,._-')}" for key, value in facts.items())
        return f"<!-- rampgate:{quote(self.environment, safe='/')}{pairs} -->"

    def after(self, old: "Marker | None", edited_at: int) -> Self:
        """This marker with the trail of the one it replaces, which was last edited at ``edited_at``."""
        if old is None or old.rollout != self.rollout or old.revision is None:
            return self
        trail = old.shown
        if old.revision not in dict(trail):
            trail = (*trail, (old.revision, edited_at))
        return replace(self, shown=trail[-TRAIL:])

    def seen(self, at: float, edited_at: int) -> Seen:
        """What a person could have read at a moment. Whole seconds: an edit within the same second came after.

        From before the trail begins, the oldest revision is the answer: it is not the present one, and refused.
        """
        known = self.shown
        if self.revision is not None and self.revision not in dict(known):
            known = (*known, (self.revision, edited_at))
        earlier = [revision for revision, since in known if since < int(at)]
        revision = earlier[-1] if earlier else next((revision for revision, _ in known), None)
        return Seen(rollout=self.rollout, revision=revision)


def split(body: str) -> tuple[str, Marker | None]:
    """A comment's text, and the marker on its last line, if that is one."""
    text = body.rstrip()
    head, _, last = text.rpartition("\n")
    match = _LINE.fullmatch(last.strip())
    if match is None:
        return text, None
    pairs = (pair.split("=", 1) for pair in match["facts"].split())
    facts = {key: unquote(value) for key, value in pairs}
    shown = _trail(facts.pop("shown", ""))
    return head.rstrip(), Marker(environment=unquote(match["environment"]), facts=facts, shown=shown)


def joined(text: str, marker: Marker) -> str:
    """The comment's body: the text, cut where GitHub would refuse it, and the marker as its last line."""
    line = marker.line
    most = LONGEST_COMMENT - len(line) - 4
    if len(text) > most:
        text = text[:most] + "\n…"
    return f"{text}\n\n{line}"


def _trail(text: str) -> tuple[tuple[int, int], ...]:
    pairs = re.findall(r"(\d{1,15})@(\d{1,15})", text, re.ASCII)
    return tuple((int(revision), int(since)) for revision, since in pairs)


_STANDS = " stands -->"
"""How the last line of an answer ends that is given again, whoever asks the same again."""


def reply(body: str, comment_id: int, *, stands: bool) -> str:
    """An answer: its text, cut where GitHub would refuse it, and the comment that it answers, as its last line."""
    line = f"{_reply_to(comment_id)}{_STANDS if stands else ' -->'}"
    return f"{cut(body.rstrip(), LONGEST_COMMENT - len(line) - 2)}\n\n{line}"


def answers(body: str, comment_id: int) -> bool:
    """Whether a comment's body is an answer to that comment."""
    start = _reply_to(comment_id)
    return body.rstrip().endswith((f"\n{start} -->", f"\n{start}{_STANDS}"))


def standing(body: str) -> str | None:
    """The text of an answer that stands."""
    text, _, line = body.rstrip().rpartition("\n")
    return text.rstrip() if line.endswith(_STANDS) else None


def _reply_to(comment_id: int) -> str:
    return f"<!-- rampgate-reply:{comment_id}"
