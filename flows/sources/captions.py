"""Captions of COCO images from COCO's annotation files."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

from pydantic import BaseModel, ValidationError

from app.errors import InputError
from app.texts import read_text, require_storable
from flows.sources.fetching import require_file


class _Annotation(BaseModel):
    image_id: int
    caption: str


class _Annotations(BaseModel):
    annotations: list[_Annotation]


def read_coco_captions(
    paths: Iterable[Path], images: Collection[int]
) -> dict[int, tuple[str, ...]]:
    """Captions by COCO image id, in the files' order, blanks collapsed.

    Parameters
    ----------
    paths : iterable of Path
        `captions_train2017.json` and the like.
    images : collection of int
        The COCO ids wanted.

    Raises
    ------
    InputError
        A file is missing or holds no COCO captions, or a caption that cannot be stored.
    """
    wanted = set(images)
    captions: dict[int, list[str]] = defaultdict(list)
    for path in paths:
        for number, annotation in enumerate(_read(path).annotations):
            text = " ".join(annotation.caption.split())
            if annotation.image_id in wanted and text:
                place = f"annotations[{number}].caption, of image {annotation.image_id}"
                require_storable(text, f"{path}, {place}")
                captions[annotation.image_id].append(text)
    return {image: tuple(texts) for image, texts in captions.items()}


def _read(path: Path) -> _Annotations:
    require_file(path)
    try:
        return _Annotations.model_validate(json.loads(read_text(path)))
    except (json.JSONDecodeError, ValidationError) as error:
        raise InputError(
            f"{path}: no COCO captions",
            hint="give COCO's captions_train2017.json or captions_val2017.json",
        ) from error
