"""A health check for containers that have no other program to ask with.

``python -m app.health.probe URL`` ends with 0 where the URL answers with success.
"""

import sys

import httpx

from app.loopback import never_proxy_loopback

TIMEOUT_S = 5.0


def is_well(url: str) -> bool:
    """Whether a URL answers with success."""
    never_proxy_loopback()
    try:
        return httpx.get(url, timeout=TIMEOUT_S).is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


if __name__ == "__main__":
    sys.exit(not is_well(sys.argv[1]))
