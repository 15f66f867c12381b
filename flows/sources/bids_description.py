"""What `dataset_description.json` says of a BIDS derivative."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.errors import InputError
from flows.sources.base import Description
from flows.sources.bids_files import read_json
from flows.sources.bids_options import BidsOptions
from flows.sources.fetching import is_named
from flows.sources.validation import validated

DESCRIPTION_NAME = "dataset_description.json"


class _Described(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    Name: Annotated[str, Field(min_length=1)]
    BIDSVersion: Annotated[str, Field(min_length=1)]
    DatasetType: str = "raw"
    License: str = ""
    Authors: list[str] = []
    HowToAcknowledge: str = ""


def read_description(root: Path, options: BidsOptions) -> Description:
    """The description of a derivative, or what the options say instead.

    The slug is the name in lower case, with hyphens; the citation `HowToAcknowledge`, else the
    authors and the name.

    Raises
    ------
    InputError
        The file is missing or faulty, describes no derivative, or says nothing of the licence or
        of whom to cite, and the options do not either.
    """
    path = root / DESCRIPTION_NAME
    if not is_named(path):
        raise InputError(
            f"{path}: no such file", hint="every BIDS data set has one, with Name and BIDSVersion"
        )
    described = validated(
        _Described, read_json(path), where=str(path), hint="see the BIDS specification"
    )
    if described.DatasetType != "derivative":
        raise InputError(
            f"{path}: DatasetType is {described.DatasetType!r}, not 'derivative'",
            hint="give the folder of the derivative that holds the betas",
        )
    slug = options.slug or re.sub(r"[^a-z0-9]+", "-", described.Name.lower()).strip("-")
    authors = f"{', '.join(described.Authors)}: {described.Name}" if described.Authors else ""
    said = {
        "slug": slug,
        "licence": options.licence or described.License,
        "citation": options.citation or described.HowToAcknowledge or authors,
    }
    keys = {"slug": "Name", "licence": "License", "citation": "HowToAcknowledge"}
    for option, value in said.items():
        if not value:
            raise InputError(
                f"{path}: {keys[option]} gives no {option}",
                hint=f"write it there, or give the option {option}",
            )
    title = options.title or described.Name
    return Description(slug, title, "bids", root.as_uri(), said["licence"], said["citation"])
