"""Checking what a user wrote (options, dataset.toml) against its model, in one clear line."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.errors import InputError
from app.texts import require_storable, texts_in

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], values: dict[str, Any], *, where: str, hint: str) -> Model:
    """`values` as a `model`.

    Raises
    ------
    InputError
        Of the first fault: `where`, the key's place (`participants[0].mask`) and the reason; a text
        that cannot be stored is one.
    """
    for place, text in texts_in(values):
        require_storable(text, f"{where}, {place}" if where else place)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ""
        for part in fault["loc"]:
            place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
        reason = {
            "extra_forbidden": "unknown key",
            "missing": "missing key",
        }.get(fault["type"], fault["msg"])
        # A fault of a whole table has no place of its own at the top.
        message = ": ".join(filter(None, (where, place, reason.removeprefix("Value error, "))))
        raise InputError(message, hint=hint) from None
