"""Which of a data set's participants were asked for."""

from collections.abc import Sequence
from pathlib import Path

from app.errors import InputError


def choose_participants(
    folder: Path, found: Sequence[str], chosen: Sequence[str] | None
) -> list[str]:
    """The participants to read, sorted.

    Parameters
    ----------
    folder : Path
        Where they were looked for, for messages.
    found : sequence of str
    chosen : sequence of str, optional
        Default: all that were found.

    Raises
    ------
    InputError
        There is none, or one is chosen twice or is not there.
    """
    if chosen is None:
        if not found:
            raise InputError(f"{folder}: no participant", hint="fetch the data of one at least")
        return sorted(found)
    ordered = sorted(chosen)
    for before, label in zip([None, *ordered], ordered, strict=False):
        if label == before:
            raise InputError(f"participant {label} is chosen twice", hint="name each once")
        if label not in found:
            raise InputError(
                f"{folder}: no participant {label}", hint=f"there are: {', '.join(sorted(found))}"
            )
    return ordered


def require_participant(folder: Path, participants: Sequence[str], participant: str) -> None:
    """Raise `InputError` where a participant is not among those that are read."""
    if participant not in participants:
        raise InputError(
            f"{folder}: no participant {participant}", hint=f"there are: {', '.join(participants)}"
        )
