"""Run every benchmark and print its figures."""

import platform
from datetime import UTC, datetime

from tests.benchmarks import bulk_write, haxby_rotation, masks


def main() -> None:
    """All benchmarks, one after the other."""
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}")
    for benchmark in (bulk_write, masks, haxby_rotation):
        title = (benchmark.__doc__ or "").splitlines()[0]
        print(f"\n{title}")
        for line in benchmark.measure():
            print(f"  {line}")


if __name__ == "__main__":
    main()
