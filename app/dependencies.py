"""What the API's endpoints ask for."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy.orm import Session

from app.reading import reading_session


def _session() -> Iterator[Session]:
    with reading_session() as session:
        yield session


# The function's scope: what could not be committed must not have been answered already.
ReadingSession = Annotated[Session, Depends(_session, scope="function")]
