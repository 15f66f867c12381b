"""Terms, over HTTP."""

from fastapi import APIRouter

from app.dependencies import IngestingSession
from app.keys.service import actor_of
from app.terms import service
from app.terms.prompts import check_batch
from app.terms.schemas import TermsReport, TermsWanted

INGESTION = "ingestion"

router = APIRouter(prefix="/terms", tags=[INGESTION])


@router.post("")
def add_terms(session: IngestingSession, wanted: TermsWanted) -> TermsReport:
    """Give texts a vector, so that SQL can ask them: all of them, or none."""
    check_batch(len(wanted.texts), "texts")
    return service.add_terms(session, wanted.texts, actor=actor_of(session), dataset=wanted.dataset)
