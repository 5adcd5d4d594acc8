"""What the flag server remembers, in SQLite or PostgreSQL. Only this room speaks SQL."""

from flagserver.store.engine import Store, Tx

__all__ = ["Store", "Tx"]
