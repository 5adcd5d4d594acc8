"""A rollout as one page of Markdown: the pull request's comment and the job's summary, from the same lines.

The first line says all that a phone shows. Versions, names and sentences of other people are made harmless.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from gate.judge.replay import further
from gate.report.chart import chart
from gate.report.history import history
from gate.report.prose import bar, code, order, plain
from gate.report.targets import colours, targets
from gate.report.waiting import next_steps, still_to_say, waiting
from rampgate import figures
from rampgate.evidence import SAID_BY_HOOKS, Look, Sample
from rampgate.machine.moves import step_share
from rampgate.machine.state import ActionKind, Phase
from rampgate.plan import WHOLE, percent
from rampgate.rollout import Entry, Rollout
from rampgate.way_back import told, way_back
from rampgate.wording import clock, count, headline_of, rate, ratio, sentences, step_name

COMMENT_LIMIT = 60_000
"""Characters: GitHub takes 65 536, and the marker's writer adds to them."""

SUMMARY_LIMIT = 200_000
"""Characters: far below the runner's 1 MiB, and as much as anybody reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where a page leads: the job's run, the rollout's page on the dashboard, and the rollout that took its place.

    ``successor_pull`` is the number of that one's pull request. ``outlook`` is what the plan was expected to see, in
    sentences; it stands there until the first step is left. ``opened`` is what a revert has opened, ``not_opened`` what
    it could not, and why.
    """

    run: str | None = None
    dashboard: str | None = None
    successor: str | None = None
    successor_pull: int | None = None
    outlook: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()
    not_opened: tuple[str, ...] = ()


def comment(
    rollout: Rollout, looks: Sequence[Look], entries: Sequence[Entry], now: float, links: Links | None = None
) -> str:
    """The one comment on the pull request, its marker on the last line.

    Args:
        rollout: as the flag server last told it.
        looks: of this attempt, oldest first.
        entries: the rollout's history, oldest first.
        now: seconds since the epoch, on the flag server's clock.
        links: where the page leads.
    """
    marker = _marker(rollout)
    page = _page(rollout, looks, entries, now, links or Links(), COMMENT_LIMIT - len(marker))
    return f"{page}\n\n{marker}"


def summary(
    rollout: Rollout, looks: Sequence[Look], entries: Sequence[Entry], now: float, links: Links | None = None
) -> str:
    """The job's summary: the comment's page with more of its history. Arguments as for ``comment``."""
    return _page(rollout, looks, entries, now, links or Links(), SUMMARY_LIMIT) + "\n"


def _marker(rollout: Rollout) -> str:
    environment = quote(rollout.plan.environment, safe="/")
    return f"<!-- rampgate:{environment} rollout={quote(rollout.id)} revision={rollout.state.revision} -->"


def evidence(rollout: Rollout, looks: Sequence[Look], entries: Sequence[Entry], now: float, links: Links) -> str:
    """The page without its history. Arguments as for ``comment``."""
    return "\n\n".join(
        part
        for part in (
            f"### {headline(rollout, now)}",
            _subtitle(rollout, links),
            _ramp(rollout, entries, now),
            _table(rollout, looks),
            "\n".join(f"- {line}" for line in _lines(rollout, looks, entries, now, links)),
            _foot(rollout),
            chart(rollout, looks, now),
        )
        if part
    )


def _page(
    rollout: Rollout, looks: Sequence[Look], entries: Sequence[Entry], now: float, links: Links, most: int
) -> str:
    head = evidence(rollout, looks, entries, now, links)
    room = most - len(head) - 200
    return "\n\n".join(part for part in (head, history(rollout, entries, now, room)) if part)


def headline(rollout: Rollout, now: float) -> str:
    """Where it stands, in one line of Markdown."""
    share = _share_words(rollout, now)
    version = code(rollout.version, 40)
    stable = code(rollout.stable.version, 40) if rollout.stable.version else "the stable version"
    state = rollout.state
    retiring = state.phase is Phase.COMPLETING and state.retirement_begun
    unfinished = state.pending(ActionKind.ROLL, ActionKind.UNDO)
    said = headline_of(state.phase, rollout.plan, retiring=retiring, baseline=state.baseline, unfinished=unfinished)
    words = said.format(version=version, stable=stable, share=share)
    return f"{_SIGNS[state.phase]} {plain(rollout.plan.environment, 60)}: {words}"


_SIGNS = {
    Phase.DEPLOYING: "⚪", Phase.VERIFYING: "⚪", Phase.DARK: "⚪", Phase.PROGRESSING: "🔵", Phase.WAITING: "🟡",
    Phase.PAUSED: "🟡", Phase.COMPLETING: "🔵", Phase.PROMOTED: "🟢", Phase.REVERTING: "🔴", Phase.REVERTED: "🔴",
    Phase.SUPERSEDED: "⚫", Phase.FAILED: "🔴",
}  # fmt: skip


def _share_words(rollout: Rollout, now: float) -> str:
    return figures.people_read(rollout, now, clock(figures.bake_ends(rollout), now))


def _subtitle(rollout: Rollout, links: Links) -> str:
    # Targets are replaced where they are: a slot is no place there.
    old, new = (
        ("", "") if rollout.plan.in_place else (f" ({plain(one.name, 30)})" for one in (rollout.stable, rollout.canary))
    )
    arms = f"{code(rollout.stable.version or '–', 60)}{old} → {code(rollout.version, 60)}{new}"
    parts = [f"flag {code(rollout.plan.flag)}", arms, f"rollout {code(rollout.id)}"]
    if rollout.is_rollback:
        parts.append("**rollback**")
    if rollout.state.attempt > 1:
        parts.append(f"attempt {rollout.state.attempt}")
    if links.run:
        parts.append(f"[run]({_target(links.run)})")
    if links.dashboard:
        parts.append(f"[dashboard]({_target(links.dashboard)})")
    if rollout.superseded_by is not None:
        name = f"superseded by {code(rollout.superseded_by)}"
        where = f" (#{links.successor_pull})" if links.successor_pull is not None else ""
        parts.append((f"[{name}]({_target(links.successor)})" if links.successor else name) + where)
    return " · ".join(parts)


def _target(url: str) -> str:
    return quote(url, safe=":/?&=%#~._-+@,;")


def _ramp(rollout: Rollout, entries: Sequence[Entry], now: float) -> str:
    """The ramp in text: what is behind, where it is, what is ahead."""
    plan, begun, back = rollout.plan, figures.entered(rollout, entries), figures.taken_back(rollout, entries)
    names = [step_name(plan, number) for number in range(plan.last + 1)]
    width = max(7, *map(len, names))
    lines = [
        f"{names[number]:>{width}} {_here(rollout, number)} {_bar(rollout, number, begun)}  "
        f"{_when(rollout, number, begun, back, now)}".rstrip()
        for number in range(plan.last + 1)
    ]
    return "\n".join(["```text", *lines, "```"])


def _here(rollout: Rollout, number: int) -> str:
    return "▶" if number == rollout.state.step and not rollout.state.phase.is_final else " "


def _bar(rollout: Rollout, number: int, begun: Mapping[int, float]) -> str:
    if number not in begun:
        return bar(0)
    everybody = number == rollout.plan.last and rollout.state.phase in (Phase.COMPLETING, Phase.PROMOTED)
    return bar(1.0 if everybody else step_share(rollout.plan, number) / WHOLE)


def _when(rollout: Rollout, number: int, begun: Mapping[int, float], back: float | None, now: float) -> str:
    phase = rollout.state.phase
    if number not in begun:
        held = rollout.plan.hold_back if number == rollout.plan.last and not rollout.plan.in_place else 0
        ahead = not phase.is_final and phase is not Phase.REVERTING
        return f"{percent(held)} held back while it bakes" if held and ahead else ""
    later = [at for step, at in begun.items() if step > number]
    since = clock(begun[number], now)
    if later:
        return f"{since}–{clock(min(later), now)}"
    if back is not None:
        return f"{since}–{clock(back, now)}  taken back"
    return f"since {since}" if number == rollout.state.step and phase in figures.ON_THE_RAMP else since


def _table(rollout: Rollout, looks: Sequence[Look]) -> str:
    """Both arms, in the step that was judged last."""
    last = figures.of_this_step(looks)
    if not last:
        return ""
    found = figures.figures(last)
    name = figures.judged_at(rollout.plan, last[-1])
    users = bool(found.stable.active_users and found.canary.active_users)
    rows = [
        f"| {name} | requests | errors | rate |" + (" users with errors |" if users else ""),
        "|:--|--:|--:|--:|" + ("--:|" if users else ""),
        _row("stable", rollout.stable.version, found.stable, users=users),
        _row("canary", rollout.version, found.canary, users=users),
    ]
    return "\n".join(rows)


def _row(arm: str, version: str | None, sample: Sample, *, users: bool) -> str:
    cells = [f"{arm} {code(version or '', 40)}", count(sample.requests), count(sample.errors)]
    cells.append(rate(sample.errors, sample.requests))
    if users:
        cells.append(rate(sample.affected_users or 0, sample.active_users or 0))
    return f"| {' | '.join(cells)} |"


def _lines(
    rollout: Rollout, looks: Sequence[Look], entries: Sequence[Entry], now: float, links: Links
) -> Iterator[str]:
    yield from _facts(rollout, looks, entries, now)
    yield from _opened(links)
    yield from _outlook(rollout, links)


def _facts(rollout: Rollout, looks: Sequence[Look], entries: Sequence[Entry], now: float) -> Iterator[str]:
    """Evidence, why it waits and until when, and what else must be known."""
    if rollout.state.phase.is_final or rollout.state.phase is Phase.REVERTING:
        yield f"**Why:** {plain(rollout.state.text or rollout.state.reason)}"
    if (way := way_back(rollout, entries)) is not None:
        yield from (f"**{lead}:** {text}" for lead, text in told(way, now))
    yield from next_steps(rollout)
    yield from colours(rollout)
    yield from targets(rollout)
    yield from _evidence(rollout, looks)
    for line in waiting(rollout, looks, now):
        yield line
    for line in still_to_say(rollout, now):
        yield line


def _opened(links: Links) -> Iterator[str]:
    if links.opened:
        yield f"**Opened:** {', '.join(links.opened)}"
    for text in links.not_opened:
        yield f"**Not opened:** {plain(text)}"


def _outlook(rollout: Rollout, links: Links) -> Iterator[str]:
    """The forecast, as long as it is news."""
    state = rollout.state
    if links.outlook and state.step <= 1 and not state.phase.is_final and state.phase is not Phase.REVERTING:
        yield f"**Forecast:** {plain(sentences(links.outlook), 600)}"


def _evidence(rollout: Rollout, looks: Sequence[Look]) -> Iterator[str]:
    if not looks:
        return
    look = looks[-1]
    weighed = figures.harm(look)
    if weighed is not None:
        shown = min(weighed, 1.0)
        yield f"**Evidence of harm:** `{bar(shown, 10)}` {100 * shown:.0f} % of what reverts it"
    if look.verdict.culprit is not None and look.verdict.reason not in SAID_BY_HOOKS:
        yield f"**Culprit:** {plain(look.verdict.culprit, 60)}"
    needed = rollout.plan.judge.exclude[0 if look.step <= 1 else 1]
    if look.step and rollout.state.phase in figures.ON_THE_RAMP:
        found = f"more than {ratio(look.verdict.excluded)}" if look.verdict.excluded else "nothing yet"
        yield f"**Excluded:** {found} ({ratio(needed)} is needed to go on)"
    yield from (plain(one) for one in further(rollout.plan, looks))
    dropped = figures.figures(figures.of_this_step(looks)).dropped
    if dropped > 1:
        yield f"{dropped} intervals of this step compared nothing and count for neither arm"


def _foot(rollout: Rollout) -> str:
    state = rollout.state
    if state.phase.is_final or state.phase is Phase.REVERTING or state.retirement_begun:
        return ""
    back = "puts every target back" if rollout.plan.in_place else "sends everybody back"
    orders = [f"{order(rollout, 'abort')} {back}"]
    if state.phase in figures.ON_THE_RAMP:
        orders.append(f"{order(rollout, 'promote')} goes on")
        orders.append(
            f"{order(rollout, 'resume')} ends the pause"
            if state.phase is Phase.PAUSED
            else f"{order(rollout, 'pause')} stays"
        )
    return " · ".join([*orders, order(rollout, "help")])
