"""`record`: a frozen dataclass that costs a third to define.

`dataclasses` compiles six methods of each class, one by one. A process that opens a table defines
fifty, which is a tenth of what it does before its first question. Here one is compiled; the others
are the same functions for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["record"]

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    from collections.abc import Callable
    from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, fields
    from operator import attrgetter
    from typing import Any

    def record(*, frozen: bool, slots: bool = False, repr: bool = True) -> Callable[[type], type]:
        """As `dataclasses.dataclass` with these parameters, of which `frozen` has to be true.

        Fields are parameters by place or name, as they are declared, with defaults or factories
        of them. A record can't be derived from another.
        """
        if not frozen:
            raise TypeError("a record is frozen; use dataclasses.dataclass for what changes")

        def made(cls: type) -> type:
            defined = dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
            every = fields(defined)
            own = vars(cls)
            methods = {"__init__": _init(defined, every)}
            if repr and "__repr__" not in own:
                methods["__repr__"] = _repr([each.name for each in every if each.repr])
            values = _values([each.name for each in every if each.compare])
            if "__eq__" not in own:
                methods["__eq__"] = _eq(values)
            if own.get("__hash__") is None:
                hashed = [e.name for e in every if (e.compare if e.hash is None else e.hash)]
                methods["__hash__"] = _hash(_values(hashed))
            if slots:
                methods |= _state([each.name for each in every])
            methods |= _frozen(defined, frozenset(each.name for each in every))
            for name, method in methods.items():
                if name != "__init__":
                    method.__qualname__ = f"{defined.__qualname__}.{name}"
                setattr(defined, name, method)
            defined.__dataclass_params__.frozen = True
            return defined

        return made

    def _init(cls: type, every: tuple[Field[Any], ...]) -> Callable[..., None]:
        known = {"_set": object.__setattr__, "_missing": MISSING}
        parameters, lines = ["self"], []
        for each in every:
            name = value = each.name
            if each.default_factory is not MISSING:
                known[f"_new_{name}"] = each.default_factory
                value = f"_new_{name}() if {name} is _missing else {name}"
                parameters.append(f"{name}=_missing")
            elif each.default is not MISSING:
                known[f"_default_{name}"] = each.default
                parameters.append(f"{name}=_default_{name}")
            else:
                parameters.append(name)
            lines.append(f"    _set(self, {name!r}, {value})")
        if hasattr(cls, "__post_init__"):
            lines.append("    self.__post_init__()")
        exec(f"def __init__({', '.join(parameters)}):\n" + "\n".join(lines or ["    pass"]), known)
        init = known["__init__"]
        init.__qualname__ = f"{cls.__qualname__}.__init__"
        return init

    def _repr(names: list[str]) -> Callable[[Any], str]:
        def __repr__(self: Any) -> str:
            shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
            return f"{self.__class__.__qualname__}({shown})"

        return __repr__

    def _values(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
        if len(names) > 1:
            return attrgetter(*names)
        return lambda record: tuple(getattr(record, name) for name in names)

    def _eq(values: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any, Any], bool]:
        def __eq__(self: Any, other: Any) -> bool:
            if other.__class__ is self.__class__:
                return values(self) == values(other)
            return NotImplemented

        return __eq__

    def _hash(values: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], int]:
        def __hash__(self: Any) -> int:
            return hash(values(self))

        return __hash__

    def _state(names: list[str]) -> dict[str, Callable[..., Any]]:
        def __getstate__(self: Any) -> list[Any]:
            return [getattr(self, name) for name in names]

        def __setstate__(self: Any, state: list[Any]) -> None:
            for name, value in zip(names, state, strict=True):
                object.__setattr__(self, name, value)

        return {"__getstate__": __getstate__, "__setstate__": __setstate__}

    def _frozen(cls: type, names: frozenset[str]) -> dict[str, Callable[..., None]]:
        def __setattr__(self: Any, name: str, value: Any) -> None:
            if type(self) is cls or name in names:
                raise FrozenInstanceError(f"cannot assign to field {name!r}")
            super(cls, self).__setattr__(name, value)

        def __delattr__(self: Any, name: str) -> None:
            if type(self) is cls or name in names:
                raise FrozenInstanceError(f"cannot delete field {name!r}")
            super(cls, self).__delattr__(name)

        return {"__setattr__": __setattr__, "__delattr__": __delattr__}
