"""Readers of data layouts, behind one protocol (`flows.sources.base.Source`)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from app.errors import InputError
from app.ingestions.addresses import is_url
from flows.sources.base import (
    Description,
    Fold,
    Grid,
    RegionMask,
    Source,
    Stimulus,
    Trials,
)
from flows.sources.bids import BidsSource, is_bids
from flows.sources.checks import CheckReport, ParticipantReport, check_source
from flows.sources.fetching import is_named
from flows.sources.haxby import HaxbySource, is_haxby
from flows.sources.manifest import ManifestSource
from flows.sources.mirrors import mirror
from flows.sources.nsd import NsdSource

__all__ = [
    "CheckReport",
    "Description",
    "Fold",
    "Grid",
    "ParticipantReport",
    "RegionMask",
    "Source",
    "Stimulus",
    "Trials",
    "check_source",
    "open_source",
]

MANIFEST_NAME = "dataset.toml"


def open_source(path: str | Path, **options: Any) -> Source:
    """The source at a path; no data is read yet.

    Parameters
    ----------
    path : str or Path
        A `dataset.toml`, or a folder that holds, in this order, `nsddata_betas` (NSD), a
        `dataset.toml`, `subj1/labels.txt` and the like (nilearn's `haxby2001`), or
        `dataset_description.json` or `sub-*` (a BIDS derivative); or an
        fsspec URL of one of these (`flows.sources.mirrors`). docs/sources.md has them all.
    **options
        See `NsdOptions`, `HaxbyOptions` and `BidsOptions` in the modules `nsd_options` and so on.
        A manifest says everything itself.

    Raises
    ------
    InputError
        There is no source of a known layout, or an option is unknown or wrong.
    """
    if is_url(str(path)):
        source = open_source(mirror(str(path)), **options)
        source.description = replace(source.description, uri=str(path))
        return source
    place = Path(path)
    if (place / "nsddata_betas").is_dir():
        return NsdSource(place, **options)
    manifest = place / MANIFEST_NAME if place.is_dir() else place
    if manifest.suffix == ".toml" and is_named(manifest):
        if options:
            raise InputError(
                f"{manifest}: no option {min(options)} for a manifest",
                hint="write it into the manifest (docs/manifest.md)",
            )
        return ManifestSource(manifest)
    if is_haxby(place):
        return HaxbySource(place, **options)
    if is_bids(place):
        return BidsSource(place, **options)
    raise InputError(
        f"{place}: no data set of a known layout",
        hint=f"give a folder that holds nsddata_betas (NSD), a {MANIFEST_NAME} or "
        "subj1/labels.txt (haxby2001) or dataset_description.json (BIDS); see docs/sources.md",
    )
