"""Run benchmarks by name, or all of them, and print their figures."""

import argparse
import platform
from collections.abc import Sequence
from datetime import UTC, datetime

from tests.benchmarks import (
    bulk_write,
    calibration,
    claims,
    clusters,
    command_start,
    curves,
    decoder_step,
    growth,
    haxby_rotation,
    incremental,
    ingestion_load,
    localisation,
    map_search,
    masks,
    newcomer,
    nsd_participant,
    prompts,
    reading,
    recovery,
    rest_latency,
    small_designs,
    voxel_million,
    voxel_search,
    waiting_threads,
)

BENCHMARKS = {
    getattr(module, "NAME", module.__name__.rpartition(".")[2]): module
    for module in (
        bulk_write,
        voxel_search,
        rest_latency,
        command_start,
        waiting_threads,
        decoder_step,
        masks,
        growth,
        nsd_participant,
        recovery,
        curves,
        haxby_rotation,
        calibration,
        claims,
        small_designs,
        newcomer,
        localisation,
        clusters,
        voxel_million,
        map_search,
        prompts,
        reading,
        incremental,
        ingestion_load,
    )
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The benchmarks that are named, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all by default")
    names = parser.parse_args(arguments).name
    for name in names:
        if name not in BENCHMARKS:
            parser.error(f"there is no benchmark {name}: name any of {', '.join(BENCHMARKS)}")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}")
    for name in names or BENCHMARKS:
        title = (BENCHMARKS[name].__doc__ or "").splitlines()[0]
        print(f"\n{title}")
        for line in BENCHMARKS[name].measure():
            print(f"  {line}", flush=True)


if __name__ == "__main__":
    main()
