"""``--set key=value``: frozen dataclasses of options from text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, get_args, get_type_hints

from medsynth_cli.errors import MedsynthError

T = TypeVar("T")


def pairs(settings: Iterable[str] | None) -> dict[str, str]:
    """The values of repeated ``--set key=value``; the last one of a key counts.

    Raises:
        MedsynthError: one has no key or no ``=``.
    """
    values = {}
    for text in settings or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise MedsynthError(f"--set {text}: not KEY=VALUE")
        values[key.strip().replace("-", "_")] = value
    return values


def build(options_class: type[T], values: dict[str, str], owner: str) -> T:
    """An options object from texts; what is not named keeps its default.

    Args:
        options_class: a dataclass with fields of type bool, int, float or str, or one of these and None.
        values: field name -> text.
        owner: whose options they are, for errors.

    Raises:
        MedsynthError: an unknown field, or a text that is no value of its type.
    """
    types = get_type_hints(options_class)
    return options_class(**{key: _convert(key, text, types, owner) for key, text in values.items()})


def _convert(key: str, text: str, types: dict[str, Any], owner: str) -> Any:
    if key not in types:
        raise MedsynthError(f"{owner} has no setting {key!r}", f"known: {', '.join(types) or 'none'}")
    wanted = next(kind for kind in (*get_args(types[key]), types[key]) if kind in (bool, int, float, str))
    if wanted is bool:
        if text.lower() not in ("true", "false"):
            raise MedsynthError(f"setting {key}={text}: neither true nor false")
        return text.lower() == "true"
    try:
        return wanted(text)
    except ValueError as error:
        raise MedsynthError(f"setting {key}={text}: not a valid {wanted.__name__}") from error
