"""One cached list: an Arrow file that appears whole or not at all, and is known to be intact.

The file's name holds its size, its time of writing and the machine's boot: whatever was changed
afterwards, or may have been lost in a power cut, doesn't fit its name and isn't read. Checksums
would cost reading the whole file, which mapping it is meant to save.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc

from deltalakedb.record import record

_NAME = re.compile(r"(-?[0-9]+)-([0-9]+)\.([0-9a-f]+)-([0-9a-f]+)-([0-9a-f]+)\.arrow")
_TEMPORARY = ".writing-"


@record(frozen=True)
class CacheFile:
    """A list in its folder: of which load and version, how large and when it was written."""

    path: Path
    load: int
    version: int
    size: int
    made_ns: int
    boot: str

    @classmethod
    def at(cls, path: Path) -> CacheFile | None:
        """What the name says; None when it isn't a list's."""
        found = _NAME.fullmatch(path.name)
        if found is None:
            return None
        load, version, size, made, boot = found.groups()
        return cls(path, int(load), int(version), int(size, 16), int(made, 16), boot)

    @property
    def made(self) -> float:
        """Seconds since 1970."""
        return self.made_ns / 1e9

    def intact(self) -> bool:
        """Whether the file is as it was written."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        same = (status.st_size, status.st_mtime_ns) == (self.size, self.made_ns)
        return same and self.boot == boot_id()

    def map(self, schema: pa.Schema) -> pa.Table | None:
        """The list, mapped into memory; None when the file is damaged or of another make."""
        if not self.intact():
            return None
        try:
            # Not closed: the table's buffers are the mapping.
            found = pa.ipc.open_file(pa.memory_map(str(self.path))).read_all()
        except (pa.ArrowInvalid, OSError):
            return None
        return found if found.schema.equals(schema) else None

    @property
    def _uses(self) -> Path:
        return self.path.with_suffix(".uses")

    def note_use(self) -> None:
        """Appending is safe between processes: the length counts, the time is the last use."""
        with contextlib.suppress(OSError), open(self._uses, "ab", buffering=0) as file:
            file.write(b".")

    def used(self) -> tuple[float, int]:
        """When it was used last (seconds since 1970), and how often."""
        try:
            status = self._uses.stat()
        except OSError:
            return self.made, 0
        return status.st_mtime, status.st_size

    def remove(self) -> None:
        """Whoever has it mapped goes on reading it."""
        for gone in (self.path, self._uses):
            with contextlib.suppress(OSError):
                gone.unlink()


@functools.cache
def boot_id() -> str:
    """This run of the machine, where it tells; what an earlier one wrote may lack its end."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return "0"
    return text.replace("-", "")[:12].lower()


def lists_in(folder: Path) -> list[CacheFile]:
    """The lists of a folder, whether intact or not; [] when there is no such folder."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = (CacheFile.at(folder / name) for name in names)
    return [each for each in found if each is not None]


def write_list(
    folder: Path, load: int, version: int, batches: Iterator[pa.RecordBatch], schema: pa.Schema
) -> CacheFile:
    """Write a list and let it appear. Raises OSError; whatever fails leaves nothing."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    temporary = folder / f"{_TEMPORARY}{load}-{version}-{os.urandom(6).hex()}"
    try:
        with open(temporary, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # says that its writer lives
            with pa.ipc.new_file(file, schema) as writer:
                for batch in batches:
                    writer.write_batch(batch)
            file.flush()
            status = os.fstat(file.fileno())
            seal = f"{status.st_size:x}-{status.st_mtime_ns:x}-{boot_id()}"
            path = folder / f"{load}-{version}.{seal}.arrow"
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return CacheFile(path, load, version, status.st_size, status.st_mtime_ns, boot_id())


def sweep(folder: Path) -> None:
    """Remove what dead writers left, and the uses of lists that are gone."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.name.startswith(_TEMPORARY):
                with open(path, "rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            elif path.suffix == ".uses" and not path.with_suffix(".arrow").exists():
                path.unlink()
