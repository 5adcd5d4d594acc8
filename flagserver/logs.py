"""How the server logs: one line an event, for people or as JSON, on stderr. Secrets are never passed here."""

import itertools
import logging
import re
import secrets
import sys
from typing import Any

import structlog

from flagserver.settings import LogForm, LogLevel

# As long as the audit log's column.
_GIVEN = re.compile(r"[A-Za-z0-9._:/+=@-]{1,64}")
_prefix = secrets.token_hex(5)
_numbers = itertools.count(1)


def request_id(given: str | None = None) -> str:
    """What a request is called in the log and in ``X-Request-Id``: the caller's own word where it is harmless."""
    if given is not None and _GIVEN.fullmatch(given):
        return given
    return f"{_prefix}-{next(_numbers):x}"


def set_up_logs(form: LogForm, level: LogLevel) -> None:
    """Set the process's logs up, once."""
    number = logging.getLevelNamesMapping()[level.value.upper()]
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    shared: list[Any] = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, stamp]
    last: list[Any] = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    if form is LogForm.JSON:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(number, logging.WARNING), format="%(levelname)s %(name)s %(message)s")
