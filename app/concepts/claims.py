"""What has to hold for a concept to be one that participants share, and how that is told."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from app.database.models import Component

# In the order that reasons are told in.
CLAIMS = ("decodable", "specific", "agreeing", "stable")


class Prevalence(BaseModel):
    """In what share of participants a concept is decoded, an estimate for the population."""

    estimate: float
    low: float | None = Field(description="Lower end of the 95 % interval.")
    high: float | None = Field(description="Upper end of the 95 % interval.")


class Claims(BaseModel):
    """Whether participants share a concept, by which claims, and why not."""

    shared: bool | None = Field(
        description="Whether all four claims hold; null where one of them was not measured and "
        "none fails."
    )
    decodable: bool | None = Field(
        description="Whether the voxels that the decoder needs decode it in enough participants; "
        "null where that was not measured, as for each claim."
    )
    specific: bool | None = Field(
        description="Whether it is more than a mixture of the run's concepts: voxels are tuned "
        "to it, and those that the decoder needs tell it, more than mixtures."
    )
    agreeing: bool | None = Field(
        description="Whether participants' masks agree more than those of different concepts."
    )
    stable: bool | None = Field(
        description="Whether it is found again by other seeds, on other images and in other "
        "participants."
    )
    reason: str | None = Field(
        description="Why it is not shared, of the first claim that fails or else was not measured."
    )
    reasons: dict[str, str] = Field(
        description="Of each claim that fails or was not measured, by its name: why."
    )
    prevalence: Prevalence | None = Field(
        description="Share of participants in whom the voxels that the decoder needs decode it; "
        "null where that was not measured."
    )


def claims_of(component: "Component") -> dict[str, Any]:
    """The fields of a component's `Claims`."""
    return {name: getattr(component, name) for name in ("shared", *CLAIMS)} | {
        "reason": component.reason,
        "reasons": component.reasons,
        "prevalence": None
        if component.prevalence is None
        else Prevalence(
            estimate=component.prevalence,
            low=component.prevalence_low,
            high=component.prevalence_high,
        ),
    }


def no_claims(reason: str | None) -> dict[str, Any]:
    """The fields of the `Claims` of what is no concept, for this reason."""
    return {**dict.fromkeys(("shared", *CLAIMS, "prevalence")), "reason": reason, "reasons": {}}


def first_reason(values: Mapping[str, bool | None], reasons: Mapping[str, str]) -> str | None:
    """The reason of the first claim that fails, or else of the first that was not measured.

    Parameters
    ----------
    values : mapping
        Each claim's, by its name.
    reasons : mapping
        Of each claim that is false or null.
    """
    for value in (False, None):
        for name in CLAIMS:
            if values[name] is value and name in reasons:
                return reasons[name]
    return None
