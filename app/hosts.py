"""Names that servers are asked by: REST, MCP and Prefect's alike."""

from collections.abc import Iterable


def host_of(header: str) -> str:
    """The name in a ``Host`` header, in lower case and without its port."""
    if header.startswith("["):
        return header.partition("]")[0].lstrip("[").lower()
    return header.partition(":")[0].rstrip(".").lower()


def is_named(name: str, allowed: Iterable[str]) -> bool:
    """Whether a name is one of those of the setting ``allowed_hosts``.

    Parameters
    ----------
    name : str
        In lower case.
    allowed : iterable of str
        ``*.DOMAIN`` is every name below a domain, ``*`` any.
    """
    return any(
        each == "*"
        or name == each.lower()
        or (each.startswith("*.") and name.endswith(each[1:].lower()))
        for each in allowed
    )
