"""How many threads numerics compute with."""

import torch
from threadpoolctl import threadpool_limits


def use_threads(count: int) -> None:
    """Make torch and the linear algebra below numpy compute with `count` threads from now on.

    A sum over several threads is added up in another order than over one, and ends in other bits:
    only with the same number of threads do two machines of a kind give the same results. It is
    left at that, since another task of this process may be computing when this one ends.
    """
    torch.set_num_threads(count)
    threadpool_limits(limits=count, user_api="blas")
