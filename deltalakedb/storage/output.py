"""Files that become objects when they are closed, and never when they are given up."""

from __future__ import annotations

import contextlib
import io
import os
from abc import abstractmethod
from types import TracebackType
from typing import Any

import pyarrow as pa


class Output(io.RawIOBase):
    """What an object is written to, in order; `close` gives it its name.

    One that is given up, or that nobody has closed when it is let go, leaves no object: whoever
    fails in the middle mustn't leave a part that looks whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self._position = 0
        self._given_up = False

    @abstractmethod
    def _add(self, data: memoryview) -> None:
        """All of these bytes."""

    @abstractmethod
    def _complete(self) -> None:
        """Make it an object."""

    @abstractmethod
    def _drop(self) -> None:
        """Let go what is held, without asking anybody."""

    def _discard(self) -> None:
        """Remove what was written already elsewhere."""
        return

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any, /) -> int:
        piece = memoryview(data).cast("B")
        # A writer of Parquet that is let go writes its footer.
        if not self._given_up:
            self._add(piece)
        self._position += len(piece)
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            super().close()
            if not self._given_up:
                self._complete()

    def give_up(self) -> None:
        """Leave no object; nothing for one that is closed."""
        if not self.closed and not self._given_up:
            self._given_up = True
            self._drop()
            self._discard()

    def __del__(self) -> None:
        # Not `close`, as its base would.
        if not self.closed and not getattr(self, "_given_up", True):
            self._given_up = True
            self._drop()


class WholeFile(Output):
    """A file that gets its name when it is closed; `temporary`, in the same folder, until then."""

    def __init__(self, path: str, temporary: str) -> None:
        self._target = path
        self._temporary = temporary
        self._file = io.FileIO(temporary, "xb")
        super().__init__()

    def _add(self, data: memoryview) -> None:
        while data:
            data = data[self._file.write(data) :]

    def _complete(self) -> None:
        self._file.close()
        os.replace(self._temporary, self._target)

    def _drop(self) -> None:
        self._file.close()
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)


class OutputFile(pa.PythonFile):  # type: ignore[misc]  # pyarrow is untyped
    """An `Output` for pyarrow; left by an exception, it is given up."""

    def __init__(self, output: Output, mode: str = "w") -> None:
        self._output = output

    def give_up(self) -> None:
        """Leave no object; nothing for one that is closed."""
        self._output.give_up()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.give_up()
        self.close()


def give_up(file: pa.NativeFile) -> None:
    """Leave no object of a file of `open_output`'s; one that is seen from its beginning stays."""
    if isinstance(file, OutputFile):
        file.give_up()
