"""The words that the store keeps: an older server reads none that it does not know, so a new one is a decision."""

from collections.abc import Iterator

from flagserver import wire
from tests.agreed import hold_to

KEPT = (wire.PLAN, wire.STATE, wire.EVENT, wire.BECAUSE, wire.ACTIONS, wire.REFUSAL)


def words(schema: object) -> Iterator[str]:
    if isinstance(schema, list):
        for member in schema:
            yield from words(member)
    elif isinstance(schema, dict):
        yield from map(str, schema.get("enum", ()))
        if "const" in schema:
            yield str(schema["const"])
        for member in schema.values():
            yield from words(member)


def test_a_word_that_an_older_server_cannot_read_is_not_added_unawares() -> None:
    """Where this list grows, ``LEAST`` in ``flagserver/store/schema.py`` grows with it."""
    found = {word for form in KEPT for word in words(form.json_schema())}
    hold_to("stored-words.txt", "\n".join(sorted(found)) + "\n")
