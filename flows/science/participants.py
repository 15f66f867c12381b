"""How errors of the science call participants."""

from collections.abc import Sequence


def participant_names(labels: Sequence[str] | None, participants: int) -> list[str]:
    """Names of participants for errors: their labels, else "participant 1 of 4" and so on.

    Raises
    ------
    ValueError
        There are labels, and not as many as participants.
    """
    if labels is None:
        return [f"participant {number} of {participants}" for number in range(1, participants + 1)]
    if len(labels) != participants:
        raise ValueError(f"{len(labels)} labels for {participants} participants")
    return list(labels)
