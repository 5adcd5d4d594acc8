"""Which hooks are asked when: around a rollout's actions, at its looks, and at its end.

At looks nothing waits for a hook for longer than a third of a poll; an answer that comes later counts at the next look.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from gate.config import HookConfig, Moment
from gate.deploy import Deployment, Done, Failed, Stopped, Work, Workplace
from gate.hooks.ask import Asking, Said
from gate.hooks.told import Asked
from gate.hooks.weigh import Answered, at_look, bakes, confirmation, too_early, weighed
from rampgate.evidence import Look
from rampgate.machine.state import Action, ActionKind
from rampgate.plan import seconds
from rampgate.rollout import Entry, Rollout

Run = Callable[[Work, Callable[[], bool]], Deployment]


@dataclass(slots=True, kw_only=True)
class AtWork:
    """A configuration's hooks. ``patience`` is how long a look waits for their answers, in seconds."""

    hooks: tuple[HookConfig, ...] = ()
    workplace: Workplace = field(default_factory=Workplace)
    patience: float | None = None
    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    _asking: dict[str, Asking] = field(default_factory=dict)
    _heard: dict[str, str] = field(default_factory=dict)
    _sent: int = 0

    def around(self, rollout: Rollout, action: Action, run: Run) -> Run:
        """``run`` with what must be asked before it or after it: yes before a deployment, checks before any user."""
        before = self._of(Moment.CONFIRM_ROLLOUT) if action.kind is ActionKind.DEPLOY else ()
        after = self._of(Moment.PRE_ROLLOUT) if action.kind is ActionKind.VERIFY else ()
        if not before and not after:
            return run

        def asked(work: Work, keep_going: Callable[[], bool]) -> Deployment:
            begun = time.monotonic()
            for hook in before:
                if (held := self._until_yes(hook, rollout, keep_going)) is not None:
                    return held
            left = work.seconds - (time.monotonic() - begun)
            found = run(replace(work, seconds=max(1.0, left)), keep_going)
            return self._checked(after, rollout, found, keep_going) if isinstance(found, Done) else found

        return asked

    def weigh(self, rollout: Rollout, look: Look, before: Sequence[Look], now: float) -> Look:
        """The look as the hooks leave it. ``before`` are the attempt's looks, ``now`` the server's time."""
        needed = confirmation(rollout, look, now)
        confirming = self._of(needed) if needed is not None else ()
        asked = [hook for when in at_look(rollout, look) for hook in self._of(when)]
        early = confirming and bakes(rollout, now)
        if not early:
            asked.extend(confirming)
        heard = weighed(look, self._answers(rollout, asked), before)
        return too_early(look, confirming[0]) if early and heard is look else heard

    def ended(self, rollout: Rollout) -> None:
        """Tell those who want to know that it is over. What they answer is said, and changes nothing."""
        self.stop()
        for hook in self._of(Moment.POST_ROLLOUT):
            self._say(hook, self._asked(Asked(hook=hook, rollout=rollout, number="end"), lambda: True))

    def tell(
        self,
        rollout: Rollout,
        before: Entry | None,  # noqa: ARG002
        entry: Entry,
        history: Sequence[Entry],  # noqa: ARG002
    ) -> None:
        """Tell the event hooks of a line of the history; a failure is said. It may be called from another thread."""
        for hook in self._of(Moment.EVENT):
            said = self._asked(Asked(hook=hook, rollout=rollout, number=str(entry.number), entry=entry), lambda: True)
            if said is not None and not said.yes:
                self._say(hook, said)

    @property
    def wants_events(self) -> bool:
        return bool(self._of(Moment.EVENT))

    def stop(self) -> None:
        """End what is under way; nothing is lost, for whoever goes on asks again."""
        while self._asking:
            self._asking.popitem()[1].stop()

    def _of(self, when: Moment) -> tuple[HookConfig, ...]:
        return tuple(hook for hook in self.hooks if hook.when is when)

    def _answers(self, rollout: Rollout, hooks: Sequence[HookConfig]) -> tuple[Answered, ...]:
        """Each hook's answer, asked for now or since an earlier look of the same step."""
        until = time.monotonic() + (rollout.plan.poll / 3 if self.patience is None else self.patience)
        # A question about an earlier step, or one that is no longer to be asked, is no question any more.
        for name, asking in list(self._asking.items()):
            then, state = asking.asked.rollout.state, rollout.state
            if (then.attempt, then.step) != (state.attempt, state.step) or asking.asked.hook not in hooks:
                self._asking.pop(name).stop()
        for hook in hooks:
            if hook.name not in self._asking:
                asked = Asked(hook=hook, rollout=rollout, number=self._number())
                self._asking[hook.name] = Asking(asked, self.workplace)
        answers = []
        for hook in hooks:
            said = self._asking[hook.name].wait(until - time.monotonic())
            if said is not None:
                del self._asking[hook.name]
                if self._heard.get(hook.name) != said.text:
                    self._say(hook, said)
                self._heard[hook.name] = said.text
            answers.append(Answered(hook=hook, said=said))
        return tuple(answers)

    def _until_yes(self, hook: HookConfig, rollout: Rollout, keep_going: Callable[[], bool]) -> Deployment | None:
        """Ask until the hook says yes; otherwise what came of the deployment in its place."""
        until, heard = self.now() + hook.wait, ""
        while True:
            said = self._asked(Asked(hook=hook, rollout=rollout, number=self._number()), keep_going)
            if said is None:
                return Stopped(text=f"waiting for the hook {hook.name} was stopped")
            if said.yes:
                self._say(hook, said)
                return None
            if said.text != heard:
                self._say(hook, said)
            heard, again = said.text, self.now() + rollout.plan.poll
            if again >= until:
                return Failed(text=f"the hook {hook.name} did not say yes within {seconds(hook.wait)}: {heard}")
            while self.now() < again:
                if not keep_going():
                    return Stopped(text=f"waiting for the hook {hook.name} was stopped")
                self.pause(min(self.workplace.every, max(0.0, again - self.now())))

    def _checked(
        self, hooks: Sequence[HookConfig], rollout: Rollout, found: Done, keep_going: Callable[[], bool]
    ) -> Deployment:
        texts = [found.text]
        for hook in hooks:
            said = self._asked(Asked(hook=hook, rollout=rollout, number=self._number()), keep_going)
            if said is None:
                return Stopped(text=f"the hook {hook.name} was stopped")
            self._say(hook, said)
            if not said.yes:
                return Failed(text=f"the hook {hook.name} failed: {said.text}")
            texts.append(f"the hook {hook.name} passes")
        return replace(found, text="; ".join(texts))

    def _asked(self, asked: Asked, keep_going: Callable[[], bool]) -> Said | None:
        """The answer, waited for; ``None`` when ``keep_going`` said no."""
        asking = Asking(asked, self.workplace)
        try:
            while (said := asking.wait(self.workplace.every)) is None:
                if not keep_going():
                    return None
        finally:
            asking.stop()
        return said

    def _say(self, hook: HookConfig, said: Said | None) -> None:
        if said is not None:
            self.workplace.say(f"Hook {hook.name} ({hook.when}): {'yes' if said.yes else 'no'}, {said.text}")

    def _number(self) -> str:
        self._sent += 1
        return f"{time.time():.0f}-{self._sent}"
