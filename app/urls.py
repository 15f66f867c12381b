"""URLs that users give, and what must not stand in them."""

import re

from app.errors import InputError

# Also of a chain of URLs, as fsspec takes them.
_LOGIN = re.compile(r"://[^/?#\s]*@")


def require_no_login(source: str, name: str = "the source") -> None:
    """Refuse a URL that holds a user or a password, before anything stores or repeats it.

    Parameters
    ----------
    source : str
        A URL, or anything else, which may pass.
    name : str
        What the message calls it; the URL itself is not repeated.

    Raises
    ------
    InputError
        It holds one.
    """
    if _LOGIN.search(source):
        raise InputError(
            f"{name} is a URL with a user or a password in it, which would be stored and shown",
            hint="leave them out; give them to the processes that read it, in ~/.netrc, in the"
            " service's own variables such as AWS_PROFILE, or in fsspec's (FSSPEC_HTTPS_...)",
        )
