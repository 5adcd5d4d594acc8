"""Who listens: wakes those that wait for an environment or a rollout to change. Carries no content.

Any thread may tell and any thread may listen; a wake-up must not block, so an event loop hands in its
``call_soon_threadsafe``.
"""

import threading
from collections.abc import Callable

Wake = Callable[[], object]


def environment(name: str) -> str:
    """The topic of an environment's snapshot."""
    return f"env:{name}"


def rollout(rollout_id: str) -> str:
    """The topic of one rollout's state."""
    return f"rollout:{rollout_id}"


def rollouts(name: str) -> str:
    """The topic of all rollouts of an environment."""
    return f"rollouts:{name}"


DEADLINES = "deadlines"
"""The topic of the clock's keeper: a deadline may have come nearer."""


class Hub:
    """Listeners by topic."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[str, tuple[Wake, ...]] = {}

    def listen(self, topic: str, wake: Wake) -> Callable[[], None]:
        """Have ``wake`` called at every change of the topic, until the returned function is called."""
        with self._lock:
            self._listeners[topic] = (*self._listeners.get(topic, ()), wake)

        def stop() -> None:
            with self._lock:
                left = tuple(one for one in self._listeners.get(topic, ()) if one is not wake)
                if left:
                    self._listeners[topic] = left
                else:
                    self._listeners.pop(topic, None)

        return stop

    def tell(self, topic: str) -> None:
        """Wake everybody who listens to the topic."""
        for wake in self._listeners.get(topic, ()):
            wake()

    def topics(self, prefix: str) -> tuple[str, ...]:
        """The topics that somebody listens to and that begin so."""
        with self._lock:
            return tuple(topic for topic in self._listeners if topic.startswith(prefix))
