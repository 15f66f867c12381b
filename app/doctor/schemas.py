"""What the doctor says."""

from pydantic import BaseModel


class Check(BaseModel):
    """One part of the installation: fine, or at fault and what to do."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


class Report(BaseModel):
    """All checks, in the order in which parts lean on each other."""

    ok: bool
    checks: list[Check]
