"""Commands that help texts and documents name are there, with the options that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from deltalakedb.cli.app import app

DOCS = Path(__file__).parents[2] / "docs"


def commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    """All commands below one, by their path."""
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, name
            yield from commands(below, (*path, name))


def test_each_named_command_has_its_options() -> None:
    known = dict(commands(app, ("dl",)))
    options = {
        path: {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        for path, command in known.items()
    }
    # `dl migrate TABLE` and `dl migrate --discover URL` are short for these.
    options["dl migrate"] |= options["dl migrate run"] | options["dl migrate fleet"]
    texts = {path: command.help or "" for path, command in known.items()}
    texts |= {file.name: file.read_text() for file in DOCS.glob("*.md")}
    wrong = []
    checked = 0
    for where, text in texts.items():
        for said in re.findall(r"`(dl [^`]+)`", text):
            words = said.split("|")[0].split() if "psql" in said else said.split()
            path = words[0]
            for word in words[1:]:
                if f"{path} {word}" not in known:
                    break
                path = f"{path} {word}"
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", said):
                checked += 1
                if option not in options[path]:
                    wrong.append(f"{where}: {said}: {option}")
    assert checked > 50
    assert not wrong, "\n".join(wrong)
