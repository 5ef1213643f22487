"""One line per log entry on standard error: ours by structlog, and those of libraries in the same form."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import Processor

from fusioninfer.daemon.settings import LogFormat, LogLevel

_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure(level: LogLevel, form: LogFormat) -> None:
    """From now on, for the whole process: log what is at least `level`, written as `form`."""
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(least),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_written(form)],
        )
    )
    logging.basicConfig(level=least, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)


def _written(form: LogFormat) -> tuple[Processor, ...]:
    if form is LogFormat.CONSOLE:
        return (structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),)
    return (structlog.processors.format_exc_info, structlog.processors.JSONRenderer(sort_keys=False))
