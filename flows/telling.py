"""Tells others what became of a run or an ingestion: webhooks, and Prefect's notification blocks.

Nobody's work fails because somebody cannot be told; the log says who.
"""

import json
import logging
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

import httpx
from prefect.blocks.core import Block
from prefect.blocks.notifications import AppriseNotificationBlock
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import FlowStateHook
from pydantic import Field, SecretStr

from app.settings import get_settings
from app.triggers.signatures import signed

# Seconds before each further try.
PAUSES_S = (1.0, 5.0, 25.0)
TIMEOUT_S = 10.0

Kind = Literal["published", "held_back", "failed"]
_SUBJECTS = {
    "published": "a run of {dataset} was published",
    "held_back": "a run of {dataset} was not made current",
    "failed": "work on {dataset} failed",
}

logger = logging.getLogger(__name__)


class Email(AppriseNotificationBlock):
    """E-mail by a server of one's own, as a notification block of Prefect.

    Attributes
    ----------
    url : SecretStr
        ``mailto://USER:PASSWORD@HOST:PORT?from=A&to=B``; ``mailtos://`` over TLS.
    """

    _block_type_name = "E-mail"
    _block_type_slug = "email"

    url: SecretStr = Field(
        default=...,
        title="Server and addresses",
        description="mailto://USER:PASSWORD@HOST:PORT?from=A&to=B",
    )


@dataclass(frozen=True)
class Event:
    """What others are told.

    Attributes
    ----------
    kind : {"published", "held_back", "failed"}
    dataset : str
        Its name; of an ingestion that failed before it was known, its source.
    message : str
        One line.
    run : int, optional
    ingestion : int, optional
        The id in the catalog's queue.
    """

    kind: Kind
    dataset: str
    message: str
    run: int | None = None
    ingestion: int | None = None

    @property
    def subject(self) -> str:
        """A line that says what happened."""
        return _SUBJECTS[self.kind].format(dataset=self.dataset)


def tell(event: Event) -> None:
    """Tell all who are named by the settings ``notify_urls`` and ``notify_blocks``."""
    settings = get_settings()
    told = asdict(event) | {"at": datetime.now(UTC).isoformat(), "subject": event.subject}
    body = json.dumps(told, sort_keys=True)
    for url in settings.notify_urls:
        _call(url.get_secret_value(), settings.notify_secret, body)
    for name in settings.notify_blocks:
        try:
            block: Any = Block.load(name)
            block.notify(body=event.message, subject=event.subject)
        except Exception as error:
            # Its message may quote the address, which holds passwords.
            logger.error("the block %s could not be told: %s", name, type(error).__name__)


def tell_failure(parameter: str) -> FlowStateHook[Any, Any]:
    """A hook for flows that fail; a flow within another leaves it to that one.

    Parameters
    ----------
    parameter : str
        The flow's parameter that says what it works on.
    """

    def hook(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
        if flow_run.parent_task_run_id is None:
            about = str(flow_run.parameters.get(parameter))
            tell(Event("failed", about, state.message or f"{flow.name} failed"))

    return hook


def _call(url: str, secret: SecretStr | None, body: str) -> None:
    """Send a body, the same message at every try, until it is taken or tried often enough."""
    identity = f"msg_{uuid4().hex}"
    host = httpx.URL(url).host
    for pause in (0.0, *PAUSES_S):
        time.sleep(pause)
        headers = {"Content-Type": "application/json"}
        if secret is not None:
            headers |= signed(secret.get_secret_value(), identity, body)
        try:
            answer = httpx.post(url, content=body, headers=headers, timeout=TIMEOUT_S)
        except httpx.HTTPError as error:
            why = type(error).__name__
        else:
            if answer.is_success:
                return
            why = f"status {answer.status_code}"
            if 400 <= answer.status_code < 500 and answer.status_code not in {408, 425, 429}:
                break
    logger.error("the webhook at %s could not be told: %s", host, why)
