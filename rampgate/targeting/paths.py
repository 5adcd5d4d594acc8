"""Where a rule finds things: dotted paths through what a context holds, as JavaScript would walk them. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from rampgate.targeting.coercion import text
from rampgate.targeting.work import spend, weight


def absent(scope: object, names: Sequence[object]) -> list[object]:
    """The names under which there is nothing, or empty text."""
    spend(len(names))
    return [name for name in names if look_up(scope, name) in (None, "")]


def look_up(scope: object, name: object) -> object:
    """What ``var`` finds under a name that was computed."""
    if name is None or name == "":
        return scope
    path = text(name)
    spend(weight(path))
    return follow(scope, path.split("."))


def follow(data: object, path: Iterable[str]) -> object:
    """Walk down a dotted path as JavaScript would, ``length`` and whole indices included; ``None``: not there."""
    for step in path:
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, str | list | tuple):
            if step == "length":
                data = len(data)
                continue
            index = int(step) if step.isascii() and step.isdigit() and len(step) < 10 else -1
            if index < 0 or index >= len(data) or step != str(index):
                return None
            data = data[index]
        else:
            return None
    return data
