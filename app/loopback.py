"""What is asked on this machine itself goes to no proxy, whatever the environment says."""

import os

HOSTS = ("localhost", "127.0.0.1", "::1")
# For clients of httpx, as their `mounts`: these have no proxy's transport.
DIRECTLY: dict[str, None] = {f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")}


def never_proxy_loopback() -> None:
    """Tell this process and those it starts to ask this machine directly (``NO_PROXY``).

    A proxy of a lab's or a hospital's is set for all programs, and often without what it is not
    for; it cannot reach a server that listens here alone.
    """
    told = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    known = [each.strip() for each in told.split(",") if each.strip()]
    if "*" not in known:
        known += [host for host in HOSTS if host not in known]
    # Where both are there the one in small letters counts.
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(known)
