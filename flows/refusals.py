"""Refusals that a run can be published with all the same."""

from app.errors import InputError


class NothingFoundError(InputError):
    """No component is found again, or there is none at all: the data carry too little.

    A run that meets it is published with what was measured of its decoders, and no component.
    """
