"""The parameters that KFP passes, as the signature of a training function asks for them.

JSON has one kind of number, and KFP keeps it so: the local runner makes 20.0 of 20 (kfp 2.9.0, 2.17.0), the backend 20 of 20.0 (KFP 2.0.5).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import SimpleNamespace, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from trivet.errors import UsageError


def arguments_of(function: Callable[..., Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """``parameters`` with integers where the signature of ``function`` says ``int``, and floats where it says ``float``.

    It says so for ``X`` and ``X | None``, for the items of ``list[X]``, ``tuple[X, ...]`` and ``dict[str, X]``, for each of
    ``**parameters: X``, and by the default of a parameter without an annotation. Every other number stays what KFP passes: of
    ``int | float``, of ``Any``, of ``**parameters`` without an annotation.

    Raises UsageError for a number that is not whole where the signature says ``int``.
    """
    return {name: _converted(value, _asked(function, name), name) for name, value in parameters.items()}


def _asked(function: Callable[..., Any], name: str) -> Any:
    """The type that the signature says for a parameter; None if it says none."""
    stated = inspect.signature(function).parameters
    rest = next((one for one in stated.values() if one.kind is inspect.Parameter.VAR_KEYWORD), None)
    parameter = stated.get(name, rest)
    if parameter is None:
        return None
    if parameter.annotation is not inspect.Parameter.empty:
        holder = SimpleNamespace(__annotations__={name: parameter.annotation})
        try:
            return get_type_hints(holder, _globals(function))[name]
        except (NameError, TypeError, AttributeError, SyntaxError):  # a name that is imported for type checkers only
            pass
    return type(parameter.default)


def _globals(function: Any) -> dict[str, Any]:
    """The names of the module of a function, also of a partial, a decorated one, or the ``__call__`` of an object."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    if not hasattr(function, "__globals__"):
        function = inspect.unwrap(type(function).__call__)
    return getattr(function, "__globals__", {})


def _converted(value: Any, asked: Any, name: str) -> Any:
    alternatives = get_args(asked) if get_origin(asked) in (Union, UnionType) else (asked,)
    if isinstance(value, int | float) and not isinstance(value, bool):
        numbers = [one for one in alternatives if one in (int, float, Any)]
        return _number(value, numbers[0], name) if len(numbers) == 1 else value
    if isinstance(value, Mapping):
        items = [get_args(one)[1] for one in alternatives if _is_generic(one, Mapping) and len(get_args(one)) == 2]
        if len(items) == 1:
            return {key: _converted(one, items[0], f"{name}[{key!r}]") for key, one in value.items()}
    elif isinstance(value, list):
        kinds = [one for one in alternatives if _is_generic(one, Iterable) and not _is_generic(one, Mapping)]
        if len(kinds) == 1:
            asked_items = _of_items(kinds[0], len(value))
            return [
                _converted(one, item, f"{name}[{index}]")
                for index, (one, item) in enumerate(zip(value, asked_items, strict=True))
            ]
    return value


def _is_generic(asked: Any, kind: type) -> bool:
    origin = get_origin(asked)
    return isinstance(origin, type) and issubclass(origin, kind)


def _of_items(asked: Any, length: int) -> list[Any]:
    """The type of each item of a list of this length."""
    arguments = get_args(asked)
    if get_origin(asked) is tuple and arguments[1:] != (...,):
        return list(arguments) if len(arguments) == length else [None] * length
    return [arguments[0]] * length


def _number(value: float, asked: Any, name: str) -> Any:
    if asked is float:
        return float(value)
    if asked is not int:
        return value
    if not float(value).is_integer():
        raise UsageError(
            f"the parameter {name} is {value!r}, and the training function takes an int",
            remedy="pass a whole number, or annotate it as a float in the function",
        )
    return int(value)
