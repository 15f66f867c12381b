"""Tools whose faults are told in one line, as the command line tells them."""

from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from pydantic import ValidationError

from app.errors import CatalogError, InputError
from app.failures import as_catalog_error
from app.wording import of_requests


class CatalogTool(Tool):
    """A tool that tells what is at fault and what to do; of what nobody foresaw, nothing."""

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> Any:
        """Run the tool.

        Raises
        ------
        ToolError
            The arguments, or what the catalog says to them, in one line.
        """
        try:
            self._refuse_unknown(arguments)
            return await super().run(arguments, context, convert_result)
        except (CatalogError, ToolError) as error:
            known = _known(error)
            if known is None:
                raise
            told = f"{known.message} ({of_requests(known.hint)})" if known.hint else known.message
            raise ToolError(" ".join(told.split())) from error

    def _refuse_unknown(self, arguments: dict[str, Any]) -> None:
        known = self.parameters.get("properties", {})
        if unknown := sorted(set(arguments) - set(known)):
            raise InputError(
                f"{self.name} takes no {unknown[0]!r}",
                hint=f"it takes {', '.join(known)}" if known else "it takes nothing",
            )


def _known(error: CatalogError | ToolError) -> CatalogError | None:
    cause = error if isinstance(error, CatalogError) else error.__cause__
    if isinstance(cause, ValidationError) and cause.title != "Settings":
        first = cause.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return InputError(f"{place} cannot be used: {first['msg']}", hint="see the tool's schema")
    return as_catalog_error(cause) if isinstance(cause, Exception) else None
