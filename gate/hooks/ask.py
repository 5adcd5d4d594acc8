"""Asks one hook, in a thread of its own, so that nothing else waits for it: a command by its exit code, an address by
its status. What fails, hangs or cannot be asked has not said yes.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from gate.deploy import Workplace
from gate.deploy.command import ending
from gate.deploy.hook import Ending, run_hook
from gate.fetch import NotGot, Visit, origin
from gate.foreign import Secrets, cut
from gate.hooks.told import Asked, document, environment
from gate.signing import signed

_SHOWN = 300
_LONGEST_BODY = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A hook's answer, in words that may be shown."""

    yes: bool
    text: str


class Asking:
    """One question under way. Ask for ``said`` when it is over, or stop it."""

    def __init__(self, asked: Asked, workplace: Workplace) -> None:
        self.asked = asked
        self.said: Said | None = None
        self._workplace = workplace
        self._stopped = threading.Event()
        self._over = threading.Event()
        """In place of a `join`: before Python 3.13 one that a signal interrupts takes the thread for ended."""
        self._cut: Callable[[], None] = lambda: None
        threading.Thread(target=self._ask, name=f"rampgate-hook-{asked.hook.name}", daemon=True).start()

    def wait(self, seconds: float) -> Said | None:
        """The answer, where there is one within so many seconds."""
        self._over.wait(max(0.0, seconds))
        return self.said

    def stop(self) -> None:
        """End it: nothing of the hook runs any more afterwards."""
        self._stopped.set()
        self._cut()
        self._over.wait()

    def _ask(self) -> None:
        try:
            said = self._posted() if self.asked.hook.url is not None else self._run()
            self.said = Said(yes=said.yes, text=self._shown(said.text))
        except Exception as error:
            # A fault of ours must not look like a hook that never answers.
            self.said = Said(yes=False, text=f"could not be asked: {type(error).__name__}")
        finally:
            self._over.set()

    def _run(self) -> Said:
        hook = self.asked.hook
        ran = run_hook(
            hook.command or (),
            environment(self.asked),
            self._workplace,
            seconds=hook.timeout,
            keep_going=lambda: not self._stopped.is_set(),
        )
        said = f": {ran.tail[-1]}" if ran.tail else ""
        if ran.ending is Ending.EXITED and ran.code == 0:
            return Said(yes=True, text=f"exit code 0{said}")
        return Said(yes=False, text=f"{ending(ran, hook.timeout)}{said}")

    def _posted(self) -> Said:
        hook = self.asked.hook
        url, body = hook.url or "", document(self.asked)
        headers = {"Content-Type": "application/json", "User-Agent": "rampgate"}
        if hook.secret_env is not None:
            key = self._workplace.environ.get(hook.secret_env, "")
            if not key:
                return Said(yes=False, text=f"was not asked: the variable {hook.secret_env}, which signs, is empty")
            headers |= signed(key, body, message=self.asked.message, at=time.time())
        with Visit(seconds=hook.timeout, retries=0) as visit:
            self._cut = visit.cut
            if self._stopped.is_set():
                return Said(yes=False, text="was stopped")
            got = visit.post(url, body, headers, most=_LONGEST_BODY)
        if isinstance(got, NotGot):
            return Said(yes=False, text=got.text)
        answer = got.body.decode("utf-8", "replace").strip()
        said = f"{origin(url)} answers HTTP {got.status}" + (f": {answer}" if answer else "")
        return Said(yes=200 <= got.status < 300, text=said)

    def _shown(self, text: str) -> str:
        return cut(Secrets(self._workplace.secrets).shown(text), _SHOWN)
