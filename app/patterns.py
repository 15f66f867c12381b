"""What can be said, as JSON Schema tells it: patterns, and bounds that are settings."""

from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

from app.settings import get_settings

# At least one character that is no space; the database holds no NUL.
SAYS_SOMETHING = r"^[^\x00]*[^\s\x00-\x20\x7f-\xa0][^\x00]*$"
NO_NUL = r"^[^\x00]*$"


@dataclass(frozen=True)
class Bound:
    """Annotation of a value that a setting bounds: its schema tells how far.

    The services hold to it, so that every way in refuses with the same words.

    Parameters
    ----------
    keyword : str
        Of JSON Schema.
    setting : str
        The setting's name.
    """

    keyword: str
    setting: str

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The schema of what is annotated, with the bound."""
        return handler(core) | {self.keyword: getattr(get_settings(), self.setting)}


PROMPT_LENGTH = Bound("maxLength", "prompt_length")
K_LIMIT = Bound("maximum", "k_limit")
PAGE_LIMIT = Bound("maximum", "page_limit")
PROMPT_BATCH = Bound("maxItems", "prompt_batch")
