"""How much one asker may ask in a minute."""

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from app.errors import TooManyRequestsError
from app.settings import get_settings


class Rates:
    """Counts requests, of one process; several processes each count their own."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def count(self, asker: str, cost: int = 1) -> None:
        """Count a request, or what is as much work as several.

        Parameters
        ----------
        asker : str
            A key's actor, or an address.
        cost : int
            How many requests it counts as; the whole minute's at most.

        Raises
        ------
        TooManyRequestsError
            It is more than the setting ``requests_per_minute``.
        """
        most = RateLimitItemPerMinute(get_settings().requests_per_minute)
        if not self._limiter.hit(most, asker, cost=min(cost, most.amount)):
            free = self._limiter.get_window_stats(most, asker).reset_time
            wait = max(1, math.ceil(free - time.time()))
            raise TooManyRequestsError(
                f"more than {most.amount:,} requests in a minute, the setting "
                "SDC_REQUESTS_PER_MINUTE",
                hint=f"wait {wait} s",
            )
