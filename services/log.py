"""How every process logs: one JSON object per line on standard output, times in UTC.

A line tells ids, counts, seconds and joules; never a prompt and never a key.
"""

import logging
import sys

import structlog


def configure_log(process: str) -> None:
    """Set the log up once, at the start of a process, whose name stands in every line."""
    # Libraries that use the standard library's log: their warnings matter, their chatter does not.
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stdout, format="%(levelname)s %(name)s %(message)s"
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
