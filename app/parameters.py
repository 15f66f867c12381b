"""Parameters that several endpoints take, with what the document tells of them."""

from typing import Annotated

from fastapi import Path, Query

from app.patterns import LONGEST, MOST, NO_NUL, SAYS_SOMETHING
from app.places.service import FARTHEST_MM

Prompt = Annotated[
    str,
    Query(
        description="What to look for.",
        examples=["a photo of a face"],
        min_length=1,
        max_length=LONGEST,
        pattern=SAYS_SOMETHING,
    ),
]
FurtherPrompt = Annotated[
    str, Query(min_length=1, max_length=LONGEST, pattern=SAYS_SOMETHING, examples=["person"])
]
DatasetName = Annotated[
    str | None,
    Query(description="A dataset; needed where several have a current run.", pattern=NO_NUL),
]
RunId = Annotated[int | None, Query(description="An older run, instead of the current one.")]
SubjectName = Annotated[
    str | None, Query(description="Tell of this participant alone.", pattern=NO_NUL)
]
AtlasName = Annotated[str | None, Query(description="Tell of this atlas alone.", pattern=NO_NUL)]
Count = Annotated[int, Query(description="How many, at most.", ge=1, le=MOST)]
Millimetre = Annotated[float, Query(description="mm", ge=-FARTHEST_MM, le=FARTHEST_MM)]
Label = Annotated[
    str, Query(description="A participant's label.", examples=["subj01"], pattern=NO_NUL)
]
ComponentId = Annotated[int, Path(description="A concept's id, as a search tells it.")]
Limit = Annotated[int, Query(ge=1, description="Items a page.")]
Cursor = Annotated[
    str | None, Query(max_length=100, description="`next` of the page before; none for the first.")
]
