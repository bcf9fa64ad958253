"""What all jobs share: options, logs, signals, the deadline, and how they end."""

from __future__ import annotations

import functools
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import click

from cluster.connect import connect
from cluster.spec import ClusterSpec, load_cluster
from deltalakedb import logs
from deltalakedb.cli.output import check_target
from deltalakedb.config import ConfigFactory
from deltalakedb.config.file import database_of_environment
from deltalakedb.config.loading import Configuration, load_configuration
from deltalakedb.error import DeltaLakeError
from deltalakedb.redact import redact
from deltalakedb.secret import Secret
from deltalakedb.uri import parse_database
from jobs import metrics
from jobs.outcome import CONFIGURATION, FAILED, Summary, TableOutcome, code_of, of_error
from jobs.standing import NOTHING, Standing, read_standing

log = logging.getLogger("deltalakedb.jobs")


class Stopped(BaseException):
    """SIGTERM or Ctrl-C came; `code` is how the process ends."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return "stopped by a signal"


@dataclass
class Run:
    """A job under way: where it works, until when, and what has become of its tables."""

    summary: Summary
    database: str
    cluster: ClusterSpec | None
    deadline: float | None
    local_directory: str | None
    storage_options: dict[str, str] = field(default_factory=dict)
    sections: Mapping[str, Any] = field(default_factory=dict)
    """Of the configuration; empty without one."""

    @property
    def seconds_left(self) -> float | None:
        """Until the deadline; None without one."""
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 1e-9)

    @contextmanager
    def client(self, imports: Iterable[str] = ()) -> Iterator[Any]:
        """A client of the cluster that was asked for; None where this process does the work."""
        if self.cluster is None:
            with nullcontext() as nothing:
                yield nothing
            return
        database = Secret(str(parse_database(self.database).secret.reveal()))
        with connect(
            self.cluster,
            database=database,
            imports=tuple(imports),
            local_directory=self.local_directory,
        ) as client:
            yield client

    def each(self, tables: Iterable[str], work: Callable[[str], TableOutcome]) -> None:
        """`work` on one table after another; an error is that table's, and the next one follows.

        What the deadline doesn't reach is noted as left.
        """
        for table in tables:
            if self.deadline is not None and time.monotonic() >= self.deadline:
                self.summary.left.append(table)
                continue
            began = time.monotonic()
            try:
                outcome = work(table)
            except DeltaLakeError as error:
                outcome = of_error(table, error, time.monotonic() - began)
            self.note(outcome)

    def note(self, outcome: TableOutcome) -> None:
        """What has become of a table, into the summary and the log."""
        self.summary.outcomes.append(outcome)
        log.log(
            logging.INFO if outcome.code == 0 else logging.ERROR,
            outcome.error or outcome.status,
            extra={
                "table": outcome.table,
                "step": outcome.status,
                "duration_s": round(outcome.seconds, 3),
                "error_kind": outcome.error_kind,
            },
        )


_ENDS = (
    "It may be stopped (SIGTERM) and run again at any time. Exit codes: 0 done; 1 something that "
    "repeating won't cure; 2 drift; 3 lag alone; 75 try again (the database or the cluster is "
    "away, the deadline left tables); 78 configuration; 130, 143 stopped."
)


class _Job(click.Command):
    """A command whose wrong use is a fault of configuration: 2 would say drift."""

    def main(self, *args: Any, **options: Any) -> Any:
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
        except click.ClickException as error:
            error.show()
            code = CONFIGURATION
        sys.exit(code)


def job(command: Callable[..., None]) -> click.Command:
    """A command with the options that every job has; it is called with a `Run` and its own."""
    name = command.__module__.rpartition(".")[2]
    if name == "__main__":
        name = Path(sys.argv[0]).stem

    @click.option(
        "--database",
        envvar="DL_DATABASE",
        callback=_database,
        metavar="DATABASE",
        help="SQLite path or database URL; else DL_DATABASE, the configuration's, or what stands "
        "in the file that DL_DATABASE_FILE names.",
    )
    @click.option(
        "--config",
        "configuration",
        metavar="FILE",
        envvar="DL_CONFIG",
        type=click.Path(dir_okay=False),
        is_eager=True,
        callback=_configuration,
        help="A configuration: its database, cluster and logs where nothing else is said.",
    )
    @click.option(
        "--cluster",
        "cluster_file",
        metavar="FILE",
        envvar="DL_CLUSTER",
        type=click.Path(exists=True, dir_okay=False),
        help="YAML with a section cluster; without it this process does the work.",
    )
    @click.option("--local-directory", metavar="DIR", help="Where to spill.")
    @click.option(
        "--storage-option",
        "storage_options",
        multiple=True,
        metavar="KEY=VALUE",
        help="For the store, such as endpoint_url=http://…; may be repeated.",
    )
    @click.option(
        "--deadline",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Begin no further table after so long.",
    )
    @click.option(
        "--summary",
        "summary_file",
        metavar="FILE",
        callback=target,
        help="JSON of what was done.",
    )
    @click.option("--junit-xml", metavar="FILE", callback=target, help="A test case a table.")
    @click.option(
        "--metrics-textfile",
        metavar="FILE",
        callback=target,
        help="For Prometheus' node_exporter.",
    )
    @click.option("--pushgateway", metavar="URL", help="Where Prometheus' push gateway listens.")
    @click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        help="To standard error; by default as the configuration says, or text.",
    )
    @functools.wraps(command)
    def run(
        database: str,
        configuration: Configuration,
        cluster_file: str | None,
        local_directory: str | None,
        storage_options: tuple[str, ...],
        deadline: float | None,
        summary_file: str | None,
        junit_xml: str | None,
        metrics_textfile: str | None,
        pushgateway: str | None,
        log_format: str | None,
        **own: Any,
    ) -> None:
        logs.configure(structured=log_format == "json")
        # Dask's own handlers would tell it once more.
        logging.getLogger(logs.ROOT).propagate = False
        summary = Summary(name)
        try:
            with _signals():
                if log_format is None:
                    configuration.settings.begin()
                log.info("%s begins", name)
                context = Run(
                    summary,
                    database,
                    _cluster(cluster_file, configuration),
                    None if deadline is None else time.monotonic() + deadline,
                    local_directory,
                    _options(storage_options),
                    configuration.sections,
                )
                command(context, **own)
        except Stopped as stopped:
            summary.end(stopped.code, "stopped by a signal; run it again to go on")
            log.warning(summary.ended_by)
        except DeltaLakeError as error:
            summary.end(code_of(error), error.message)
            log.error(error.message, extra={"error_kind": error.kind.value})
        except Exception as error:
            # A fault of this program or of a library's: what was done is told all the same.
            kind = type(error).__name__
            summary.end(FAILED, redact(f"{kind}: {error}"))
            log.exception(summary.ended_by, extra={"error_kind": kind})
        code = summary.code
        log.info("%s ends, exit code %d; %s", name, code, summary.told)
        if summary_file:
            Path(summary_file).write_text(summary.to_json() + "\n")
        if junit_xml:
            summary.write_junit(Path(junit_xml))
        if metrics_textfile or pushgateway:
            registry = metrics.registry_of(summary, _standing(database))
            if metrics_textfile:
                metrics.write_textfile(metrics_textfile, registry)
            if pushgateway:
                try:
                    metrics.push(pushgateway, summary, registry)
                except DeltaLakeError as error:
                    log.error(error.message, extra={"error_kind": error.kind.value})
                    code = code or code_of(error)
        sys.exit(code)

    return click.command(name, _Job, help=command.__doc__, epilog=_ENDS)(run)


def target(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """The file of an option, which can be written: told before the work, not after it."""
    check_target(value)
    return value


def _configuration(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> Configuration:
    with _ends(context):
        return load_configuration(value)
    raise AssertionError("unreachable")


def _database(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    section = context.params["configuration"].sections.get("database", {})
    with _ends(context):
        if value is None and section.keys() & {"url", "connection_string"}:
            return ConfigFactory.create_sql_config(section).secret.reveal()
        found = value or database_of_environment()
        if found is not None:
            return Secret.of(found).reveal()
    raise click.MissingParameter(ctx=context, param=parameter)


@contextmanager
def _ends(context: click.Context) -> Iterator[None]:
    """An error ends the job, by its exit code."""
    try:
        yield
    except DeltaLakeError as error:
        click.echo(f"error: {error.message}", err=True)
        context.exit(code_of(error))


def _standing(database: str) -> Standing:
    """What the catalog remembers; a run whose catalog is away tells the rest."""
    try:
        return read_standing(database)
    except DeltaLakeError as error:
        log.warning("the catalog's own counts are not among the metrics: %s", error.message)
        return NOTHING


def _cluster(file: str | None, configuration: Configuration) -> ClusterSpec | None:
    if file:
        return load_cluster(file)
    section = configuration.sections.get("cluster")
    return None if section is None else ClusterSpec.of(section)


def _options(pairs: tuple[str, ...]) -> dict[str, str]:
    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter("write --storage-option KEY=VALUE")
        options[name] = value
    return options


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and Ctrl-C end the block; what was done is kept and told."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(128 + number)

    before = {n: signal.signal(n, stop) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
