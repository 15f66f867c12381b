"""Logs on standard error, as lines of text or of JSON, with what they are about."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

from app.observing.context import bound
from app.settings import Settings

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s%(about)s"
_JSON = "%(asctime)s %(levelname)s %(name)s %(message)s"


def configure_logs(settings: Settings) -> None:
    """Send this process's log to standard error, as the settings ``log_format`` and ``log_level``.

    Of libraries warnings alone are told, and what uvicorn tells of the server: others tell every
    step that they take, and at ``debug`` the bodies that they read.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_add_bound)
    if settings.log_format == "json":
        handler.setFormatter(
            JsonFormatter(_JSON, rename_fields={"asctime": "time", "levelname": "level"})
        )
    else:
        handler.setFormatter(logging.Formatter(_TEXT))
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    for own in ("app", "flows"):
        logging.getLogger(own).setLevel(level)
    logging.getLogger("uvicorn").setLevel(max(level, logging.INFO))


def _add_bound(record: logging.LogRecord) -> bool:
    fields = bound()
    for name, value in fields.items():
        setattr(record, name, value)
    record.about = "".join(f" {name}={value}" for name, value in fields.items())
    return True
