"""Filters on claims, listed once: the API, the MCP tools and the command line take the same."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypedDict, TypeVar, get_type_hints

Function = TypeVar("Function", bound=Callable[..., Any])

_CLAIM = "Of which this claim holds, or fails."


class FilterText(NamedTuple):
    """What is told of a filter: in a schema, and in the help of the command line."""

    description: str
    option: str


class ClaimFilter(TypedDict, total=False):
    """Which concepts are listed, by what is claimed of them; null is any."""

    shared: Annotated[
        bool | None,
        FilterText(
            "Shared ones, or those of which a claim fails.",
            "That participants share, or of which a claim fails.",
        ),
    ]
    decodable: Annotated[bool | None, FilterText(_CLAIM, "That enough brains decode.")]
    specific: Annotated[bool | None, FilterText(_CLAIM, "More than a mixture of others.")]
    agreeing: Annotated[bool | None, FilterText(_CLAIM, "Whose masks agree.")]
    stable: Annotated[bool | None, FilterText(_CLAIM, "That are found again.")]


def take_claim_filters(
    after: str, marker: Callable[[str, FilterText], Any]
) -> Callable[[Function], Function]:
    """Name the filters in the signature of a function that takes them as ``**claims``.

    FastAPI, the MCP server and Typer read from a signature what they offer, and none of them
    reads ``**claims: Unpack[ClaimFilter]``.

    Parameters
    ----------
    after : str
        The parameter that the filters are listed after.
    marker : callable
        Given a filter's name and text, what the framework has its annotation carry, such as
        ``Query(description=text.description)``.

    Returns
    -------
    callable
        A decorator. The function's parameters become keyword-only from the filters on; each
        filter is null unless given.

    Raises
    ------
    ValueError
        By the decorator: the function has no parameter `after`.
    """
    filters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[bool | None, marker(name, hint.__metadata__[0])],
        )
        for name, hint in get_type_hints(ClaimFilter, include_extras=True).items()
    ]

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        if after not in signature.parameters:
            raise ValueError(f"{after!r} is not a parameter of {function.__name__}")
        named: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                continue
            kind = inspect.Parameter.KEYWORD_ONLY if filters[0] in named else parameter.kind
            named.append(parameter.replace(kind=kind))
            if parameter.name == after:
                named.extend(filters)
        function.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
        return function

    return decorate
