"""Every block of docs/cutover.md runs, with the table elsewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.cli.commands import dl
from tests.moving.test_move import append, seen

TEXT = (Path(__file__).parents[2] / "docs" / "cutover.md").read_text()
BLOCK = re.compile(r"```(python|bash)\n(.*?)```", re.DOTALL)


def test_the_blocks_run(sqlite_url: str, tmp_path: Path) -> None:
    append(tmp_path / "sales", 1)
    ran: list[str] = []
    for language, code in BLOCK.findall(TEXT.replace("/tables/sales", str(tmp_path / "sales"))):
        if language == "python":
            exec(compile(code, "cutover.md", "exec"), {})
            continue
        for line in code.splitlines():
            name, *arguments = shlex.split(line)
            assert name == "dl"
            dl(*arguments, DL_DATABASE=sqlite_url)
            ran.append(arguments[0])
    assert ran == [
        "migrate",
        "migrate",
        "cutover",
        "rollback",
        *["rollback-points"] * 3,
        "mirror",
    ]
    append(tmp_path / "sales", 2)
    assert seen(tmp_path / "sales") == [1, 2]
