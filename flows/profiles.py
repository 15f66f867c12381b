"""Named settings of a run: what the papers did, and what else is worth a name."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from app.errors import InputError
from flows.encoder_choice import OF_PICTURES
from flows.science.decoder import PUBLISHED
from flows.science.masks import PUBLISHED_MASKS
from flows.science.reduction import PUBLISHED_REDUCTION
from flows.science.voxel_clusters import PUBLISHED_CLUSTERS

Json = dict[str, Any]

DEFAULT = "default"


@dataclass(frozen=True)
class Profile:
    """Settings under a name.

    Attributes
    ----------
    description : str
        What they are for, and what is known against them.
    settings : mapping
        Nested values of `flows.config.RunConfig`; what is left out is as by default.
    decoders : mapping of str to mapping
        Settings of the decoder by its kind, where these differ.
    """

    description: str
    settings: Mapping[str, Any]
    decoders: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        DEFAULT: Profile("what `sdc run` does unless it is told otherwise", {}),
        "published": Profile(
            "settings of the 2023 and 2025 papers (arXiv 2306.03375, 2405.17663); known faults: "
            "their released code accumulated gradients; without that these settings end near "
            "their random start and with empty masks",
            {
                "encoder": OF_PICTURES,
                "start": "drawn",
                "decoder": {"kind": "linear"},
                "centred": False,
                "reduction": asdict(PUBLISHED_REDUCTION),
                "masks": asdict(PUBLISHED_MASKS),
                "clusters": asdict(PUBLISHED_CLUSTERS),
            },
            decoders={kind: asdict(decoder) for kind, decoder in PUBLISHED.items()},
        ),
    }
)


def with_profile(name: str, values: Mapping[str, Any]) -> Json:
    """The settings of a profile, under values that come before them.

    Parameters
    ----------
    name : str
    values : mapping
        Nested values of `flows.config.RunConfig`, such as `flows.config.read_values` gives.

    Returns
    -------
    dict
        Values for `RunConfig`, not yet checked.

    Raises
    ------
    InputError
        There is no such profile; the hint names the known ones, the nearest first.
    """
    profile = PROFILES.get(name)
    if profile is None:
        nearest = get_close_matches(name, PROFILES, n=len(PROFILES), cutoff=0)
        raise InputError(f"there is no profile {name!r}", hint=f"known: {', '.join(nearest)}")
    merged = _merged(profile.settings, values)
    decoder = merged.get("decoder")
    if isinstance(decoder, dict) and decoder.get("kind") in profile.decoders:
        merged["decoder"] = _merged(profile.decoders[decoder["kind"]], decoder)
    return merged


def settings_of(name: str) -> Json:
    """All settings that a profile names, for people and programs to read."""
    return with_profile(name, {})


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> Json:
    """Nested values, those of `over` where both have one."""
    merged = deepcopy(dict(under))
    for name, value in over.items():
        before = merged.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[name] = _merged(before, value)
        else:
            merged[name] = deepcopy(value)
    return merged
