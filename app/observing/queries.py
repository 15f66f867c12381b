"""SQL statements, timed and traced."""

import time
from typing import Any

from opentelemetry.trace import Span, SpanKind
from sqlalchemy import Engine, event

from app.observing.metrics import QUERY_SECONDS
from app.observing.traces import tracer

_VERBS = frozenset({"SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "COPY"})
_STATE = "observed"


def observe_queries(engine: Engine) -> None:
    """Time and trace every statement of an engine; parameters are bound, and told to nobody."""

    @event.listens_for(engine, "before_cursor_execute")
    def started(
        _connection: Any, _cursor: Any, statement: str, _values: Any, context: Any, _many: bool
    ) -> None:
        verb = _verb(statement)
        span = tracer().start_span(f"SQL {verb}", kind=SpanKind.CLIENT)
        span.set_attributes({"db.system.name": "postgresql", "db.query.text": statement})
        setattr(context, _STATE, (verb, time.perf_counter(), span))

    @event.listens_for(engine, "after_cursor_execute")
    def done(
        _connection: Any, _cursor: Any, _statement: str, _values: Any, context: Any, _many: bool
    ) -> None:
        _finish(context, None)

    @event.listens_for(engine, "handle_error")
    def failed(context: Any) -> None:
        if context.execution_context is not None:
            _finish(context.execution_context, context.original_exception)


def _finish(context: Any, error: BaseException | None) -> None:
    state: tuple[str, float, Span] | None = getattr(context, _STATE, None)
    if state is None:
        return
    delattr(context, _STATE)
    verb, since, span = state
    QUERY_SECONDS.labels(verb).observe(time.perf_counter() - since)
    if error is not None:
        # Of the kind alone: a database's message may quote what was asked.
        span.set_attribute("error.type", type(error).__name__)
    span.end()


def _verb(statement: str) -> str:
    words = statement.split(None, 1)
    verb = words[0].upper() if words else ""
    return verb if verb in _VERBS else "OTHER"
