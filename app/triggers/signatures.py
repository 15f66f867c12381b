"""Signatures of webhooks, as Standard Webhooks has them (https://www.standardwebhooks.com)."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from app.errors import UnauthorisedError

_ID, _TIME, _SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"

SIGN_IT = "sign it as Standard Webhooks says, with the webhook's secret and this clock"
WRONG_OR_MISSING = "the message's signature is wrong or missing"


def derived_secret(master: SecretStr, name: str) -> str:
    """The secret of one webhook; none of it is stored, and it tells nothing of another's."""
    key = hmac.new(master.get_secret_value().encode(), name.encode(), hashlib.sha256).digest()
    return f"whsec_{base64.b64encode(key).decode()}"


def message_id(secret: str, headers: Mapping[str, str], body: bytes) -> str:
    """The id of a message whose signature is right and not old.

    Parameters
    ----------
    secret : str
    headers : mapping of str to str
        Names in lower case.
    body : bytes

    Raises
    ------
    UnauthorisedError
        The signature is missing, wrong, or made more than five minutes ago.
    """
    told = {name: headers.get(name, "") for name in (_ID, _TIME, _SIGNATURE)}
    try:
        Webhook(secret).verify(body, told, json_parse=False)
    except (WebhookVerificationError, ValueError, binascii.Error) as error:
        when = {"too old": "old", "too new": "from the future"}
        why = next((word for text, word in when.items() if text in str(error)), None)
        message = WRONG_OR_MISSING if why is None else f"the message's signature is {why}"
        raise UnauthorisedError(message, hint=SIGN_IT) from None
    return told[_ID]


def signed(secret: str, identity: str, body: str) -> dict[str, str]:
    """The headers that sign a message of now."""
    # What the library counts is a time without its zone.
    now = datetime.now(UTC).replace(tzinfo=None)
    signature = Webhook(secret).sign(identity, now, body)
    seconds = int(now.replace(tzinfo=UTC).timestamp())
    return {_ID: identity, _TIME: str(seconds), _SIGNATURE: signature}
