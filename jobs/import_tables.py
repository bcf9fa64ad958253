"""Import many tables, or bring them up to date: `python -m jobs.import_tables --help`."""

from __future__ import annotations

import click

from jobs.frame import Run, job
from jobs.importing import import_each, locations_of


@job
@click.option("--mode", type=click.Choice(["fast", "full-history"]), help="As `dl import --mode`.")
@click.option(
    "--from-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="A location a line; `name<TAB>location` gives the table's name.",
)
@click.argument("locations", nargs=-1)
def main(run: Run, mode: str | None, from_file: str | None, locations: tuple[str, ...]) -> None:
    """Import the tables at LOCATIONS, or catch up with them; one that fails stops none."""
    import_each(run, locations_of(locations, from_file), mode)


if __name__ == "__main__":
    main()
