"""Full histories of large tables, ranges over a cluster: `python -m jobs.history_replay --help`."""

from __future__ import annotations

import click

from jobs.frame import Run, job
from jobs.importing import import_each, locations_of


@job
@click.option(
    "--from-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="A location a line; `name<TAB>location` gives the table's name.",
)
@click.argument("locations", nargs=-1)
def main(run: Run, from_file: str | None, locations: tuple[str, ...]) -> None:
    """Import every version that the logs at LOCATIONS have; readers see them when all is there."""
    import_each(run, locations_of(locations, from_file), "full-history")


if __name__ == "__main__":
    main()
