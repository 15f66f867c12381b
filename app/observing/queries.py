"""SQL statements, timed and traced."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event

from app.observing.metrics import QUERY_SECONDS
from app.observing.traces import tracer

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_VERBS = frozenset({"SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "COPY"})
_STATE = "observed"


def observe_queries(engine: Engine) -> None:
    """Time and trace every statement of an engine; parameters are bound, and told to nobody."""

    @event.listens_for(engine, "before_cursor_execute")
    def started(
        _connection: Any, _cursor: Any, statement: str, _values: Any, context: Any, _many: bool
    ) -> None:
        setattr(context, _STATE, _Observed(statement))

    @event.listens_for(engine, "after_cursor_execute")
    def done(
        _connection: Any, _cursor: Any, _statement: str, _values: Any, context: Any, _many: bool
    ) -> None:
        _finish(context, None)

    @event.listens_for(engine, "handle_error")
    def failed(context: Any) -> None:
        if context.execution_context is not None:
            _finish(context.execution_context, context.original_exception)


@contextmanager
def observed(statement: str) -> Iterator[None]:
    """Time and trace a statement that the driver is given without its engine."""
    state = _Observed(statement)
    try:
        yield
    except BaseException as error:
        state.finish(error)
        raise
    state.finish(None)


class _Observed:
    """A statement that is on its way."""

    def __init__(self, statement: str) -> None:
        self._verb = _verb(statement)
        self._since = time.perf_counter()
        self._span: Span | None = None
        if (own := tracer()) is not None:
            from opentelemetry.trace import SpanKind

            self._span = own.start_span(f"SQL {self._verb}", kind=SpanKind.CLIENT)
            self._span.set_attributes({"db.system.name": "postgresql", "db.query.text": statement})

    def finish(self, error: BaseException | None) -> None:
        QUERY_SECONDS.labels(self._verb).observe(time.perf_counter() - self._since)
        if self._span is None:
            return
        if error is not None:
            # Of the kind alone: a database's message may quote what was asked.
            self._span.set_attribute("error.type", type(error).__name__)
        self._span.end()


def _finish(context: Any, error: BaseException | None) -> None:
    state: _Observed | None = getattr(context, _STATE, None)
    if state is not None:
        delattr(context, _STATE)
        state.finish(error)


def _verb(statement: str) -> str:
    words = statement.split(None, 1)
    verb = words[0].upper() if words else ""
    return verb if verb in _VERBS else "OTHER"
