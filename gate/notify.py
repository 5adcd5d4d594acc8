"""Messages to people, by whatever service they use: which lines of a history are worth one, and in what words.

apprise delivers them: an environment variable holds its address, which is a secret. Nobody's deafness stops a rollout.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gate.config import NotifyConfig, Topic
from gate.foreign import harmless
from gate.report.prose import order
from rampgate.figures import left_to_do
from rampgate.machine.events import Created, Locked, Resumed
from rampgate.machine.state import ActionKind, Phase, Reason
from rampgate.rollout import Entry, Rollout
from rampgate.way_back import told, way_back
from rampgate.wording import headline_of, one_line, reach, sentences

_UNSEEN = "\u200b"
_LONGEST = 1000
_FAILED = frozenset({Reason.DEPLOY_FAILED, Reason.DEPLOY_EXPIRED, Reason.VERIFY_FAILED, Reason.VERIFY_EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A title and a text without any markup."""

    title: str
    text: str


def topic_of(before: Entry | None, entry: Entry, *, in_place: bool = False) -> Topic | None:
    """What this line is news of; ``None`` where nobody needs to hear of it. ``in_place``: users follow the machines."""
    if isinstance(entry.event, Created | Resumed):
        return Topic.START
    if isinstance(entry.event, Locked):
        return Topic.NEEDS_PERSON
    if before is not None and before.phase is entry.phase:
        return None
    reasons = {one.reason for one in entry.because}
    match entry.phase:
        case Phase.WAITING:
            return Topic.NEEDS_PERSON
        case Phase.PAUSED:
            return None if Reason.PAUSED_BY_PERSON in reasons else Topic.NEEDS_PERSON
        case Phase.REVERTING:
            return Topic.FAILED if reasons & _FAILED else Topic.DECISION
        case Phase.REVERTED if in_place and before is not None and Reason.NEEDS_HANDS not in reasons:
            return Topic.DECISION  # Only now are users safe.
        case Phase.REVERTED | Phase.FAILED if before is not None and before.phase is Phase.REVERTING:
            return None  # The way back was the news.
        case Phase.FAILED:
            return Topic.FAILED
        case Phase.PROMOTED | Phase.REVERTED | Phase.SUPERSEDED:
            return Topic.DECISION
        case _:
            return None


def message_of(topic: Topic, rollout: Rollout, entry: Entry, history: Sequence[Entry] = ()) -> Message:
    """The news in the comment's words; of a way back also how long it took, by the rollout's ``history``."""
    plan, state = rollout.plan, rollout.state
    unfinished = state.phase.is_final and state.pending(ActionKind.UNDO)
    said = headline_of(entry.phase, plan, retiring=False, baseline=state.baseline, unfinished=unfinished)
    stable = rollout.stable.version or "the stable version"
    words = said.format(version=rollout.version, stable=stable, share=reach(plan, entry.share))
    why = sentences(one.text for one in entry.because)
    ask = _ask(rollout, entry.phase) if topic is Topic.NEEDS_PERSON else ""
    way = way_back(rollout, history) if entry.phase in _BACK and entry.attempt == rollout.state.attempt else None
    took = [f"{lead}: {text}." for lead, text in told(way, entry.at)[:1]] if way is not None else []
    return _message(rollout, words, sentences((why, ask)), *took)


def hands_message(rollout: Rollout) -> Message:
    """The deployment is unfinished; users are safe, unless they follow machines that are still to be put back."""
    why = f"Left to do: {left_to_do(rollout)}; `rampgate sweep`, a re-run or the next rollout finishes it."
    return _message(rollout, f"{rollout.version} needs hands", why)


_BACK = frozenset({Phase.REVERTING, Phase.REVERTED})


def _ask(rollout: Rollout, phase: Phase) -> str:
    match phase:
        case Phase.WAITING:
            return f"A yes is asked for: {order(rollout, 'promote')}, or {order(rollout, 'abort')}."
        case Phase.PAUSED:
            yours = f"{order(rollout, 'resume')} and {order(rollout, 'abort')} are yours"
            return f"It goes on by itself only when its evidence is back; {yours}."
        case _:
            return ""


def _message(rollout: Rollout, words: str, *why: str) -> Message:
    arms = f"{rollout.stable.version or 'nothing'} → {rollout.version}"
    parts = [*why, f"Flag {rollout.plan.flag}: {arms}, rollout {rollout.id}.", rollout.run_url or ""]
    title = _calm(f"{rollout.plan.environment}: {words}", 200)
    return Message(title=title, text="\n".join(_calm(part, _LONGEST) for part in parts if part))


def _calm(text: str, most: int) -> str:
    """Other people's text on one line that calls nobody: no mention and no tag survives in it."""
    text = harmless(one_line(text, most))
    return text.replace("@", f"@{_UNSEEN}").replace("<", f"<{_UNSEEN}").replace("!", f"!{_UNSEEN}")


@dataclass(slots=True, kw_only=True)
class Messenger:
    """Sends messages to the addresses in ``environ`` that the configuration names. It never raises.

    Slow receivers are given up on by apprise, after four seconds to connect and four to answer unless an address says
    otherwise; call it from a thread that may wait.
    """

    to: tuple[NotifyConfig, ...]
    environ: Mapping[str, str] = field(repr=False)
    say: Callable[[str], None]

    def __call__(self, rollout: Rollout, before: Entry | None, entry: Entry, history: Sequence[Entry]) -> None:
        """Tell whoever wants to hear of this line."""
        topic = topic_of(before, entry, in_place=rollout.plan.in_place)
        if topic is not None:
            self._tell(topic, message_of(topic, rollout, entry, history))

    def needs_hands(self, rollout: Rollout) -> None:
        """Tell whoever wants to hear of unfinished deployments that this is one."""
        self._tell(Topic.NEEDS_HANDS, hands_message(rollout))

    def test(self) -> Mapping[str, str | None]:
        """Send everybody a test message: by variable what went wrong, or ``None``."""
        message = Message(title="Rampgate: a test", text="This address hears of rollouts.")
        return {one.to: _sent(self.environ.get(one.to, ""), Topic.START, message) for one in self.to}

    def _tell(self, topic: Topic, message: Message) -> None:
        for one in self.to:
            if topic in one.on:
                problem = _sent(self.environ.get(one.to, ""), topic, message)
                if problem is not None:
                    self.say(f"{one.to} was not told ({topic}): {problem}")


def _unknown(address: str) -> str:
    """Why apprise takes an address for none: no such service, or not without a package. Shows the name alone."""
    import apprise  # noqa: PLC0415

    scheme = address.strip().partition("://")[0].casefold()
    for service in apprise.Apprise().details(show_requirements=True, show_disabled=True)["schemas"]:
        if scheme in (*(service["protocols"] or ()), *(service["secure_protocols"] or ())) and not service["enabled"]:
            needs = ", ".join(service["requirements"]["packages_required"]) or "what this system has not"
            return f"{service['service_name']} cannot be told from here: it needs {needs}"
    return "what the variable holds is no address that apprise knows"


def _sent(address: str, topic: Topic, message: Message) -> str | None:
    """Send one message; what went wrong, in words without the address."""
    if not address.strip():
        return "the variable is empty"
    # Late, because apprise takes most of a second to load.
    import apprise  # noqa: PLC0415

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # its lines may hold the address
    asset = apprise.AppriseAsset(app_id="Rampgate", app_desc="Rampgate", async_mode=False)
    sender = apprise.Apprise(asset=asset)
    kinds = {
        Topic.START: apprise.NotifyType.INFO,
        Topic.DECISION: apprise.NotifyType.INFO,
        Topic.NEEDS_PERSON: apprise.NotifyType.WARNING,
        Topic.NEEDS_HANDS: apprise.NotifyType.WARNING,
        Topic.FAILED: apprise.NotifyType.FAILURE,
    }
    try:
        if not sender.add(address):
            return _unknown(address)
        told = sender.notify(
            title=message.title,
            body=message.text,
            notify_type=kinds[topic],
            body_format=apprise.NotifyFormat.TEXT,
        )
    except Exception as error:
        # A service's own code failed: nobody's rollout may.
        return f"sending failed: {type(error).__name__}"
    return None if told else "the service did not take it"
