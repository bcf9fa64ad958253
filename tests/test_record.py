"""`record` beside the standard library's dataclasses: the same classes, made by both."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, replace
from typing import Any

import pytest

from deltalakedb.record import record


def made(decorator: Any) -> list[Any]:
    """Classes of each kind, and calls of them."""

    @decorator(frozen=True)
    class Plain:
        """With everything."""

        a: int
        b: str = "x"
        c: list[int] = field(default_factory=list, compare=False)
        d: object = field(default=None, repr=False, hash=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "seen", self.a)

    @decorator(frozen=True, slots=True)
    class Slotted:
        """Without a dictionary."""

        a: int
        b: tuple[int, ...] = ()

    @decorator(frozen=True, repr=False)
    class Own:
        """What it has itself stays."""

        a: int

        def __repr__(self) -> str:
            return "own"

        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            return True

    @decorator(frozen=True)
    class Empty:
        """No fields."""

    plain: Any = Plain
    slotted: Any = Slotted
    own: Any = Own
    return [
        *(plain(1), plain(1, "y", [2], d=3), plain(a=1), plain(1, c=[4]), plain(1, d=[])),
        *(slotted(1), slotted(1, (2,)), slotted(b=(2,), a=1), own(1), Empty()),
    ]


def test_it_is_a_dataclass() -> None:
    ours, theirs = made(record), made(dataclass)

    def same(told: Callable[[Any], object]) -> bool:
        return [told(each) for each in ours] == [told(each) for each in theirs]

    assert same(repr)
    assert same(hash)
    assert same(dataclasses.asdict)
    assert same(lambda each: each.__match_args__)
    assert same(lambda each: [*inspect.signature(type(each)).parameters])
    assert same(lambda each: hasattr(each, "__dict__"))
    assert same(lambda each: getattr(each, "seen", None))
    assert same(lambda each: replace(copy.copy(each)) == each)
    assert [[a == b for b in ours] for a in ours] == [[a == b for b in theirs] for a in theirs]
    assert ours[0] != theirs[0]
    assert ours[0].c is not ours[2].c
    for each in (*ours, *theirs):
        with pytest.raises(TypeError, match="unexpected keyword"):
            type(each)(nothing=1)
        # With slots the standard library's own raises TypeError for another name.
        for name in ("a", "other") if type(each) in map(type, ours) else ("a",):
            with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{name}'"):
                setattr(each, name, 2)
            with pytest.raises(FrozenInstanceError, match=f"cannot delete field '{name}'"):
                delattr(each, name)


@record(frozen=True)
class Pickled:
    """Found by its name."""

    a: int


@record(frozen=True, slots=True)
class PickledSlots:
    """Found by its name."""

    a: int


def test_it_is_pickled_and_derived_from() -> None:
    for each in (Pickled(1), PickledSlots(1)):
        assert pickle.loads(pickle.dumps(each)) == copy.deepcopy(each) == each

    @dataclass(frozen=True)
    class Derived(Pickled):
        b: int = 0

    assert Derived(1, 2) == Derived(1, b=2) != Pickled(1)
    with pytest.raises(TypeError, match="frozen"):
        record(frozen=False)(type("Changing", (), {}))
