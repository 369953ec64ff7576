"""The dashboard's one cache: what was worked out of a store is kept as long as the store is open, and no longer."""

from collections.abc import Callable
from functools import lru_cache, partial, wraps
from typing import Any, Protocol, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


class Keeper(Protocol):
    """What answers are kept with: an open store."""

    answers: dict[Any, Any]


def kept_with_store(most: int | None) -> Callable[[Function], Function]:
    """Keep a function's latest answers about a store, its first argument; at most so many, None for all."""

    def decorate(function: Function) -> Function:
        @wraps(function)
        def answer(data: Keeper, *args: Any) -> Any:
            if function not in data.answers:
                data.answers[function] = lru_cache(most)(partial(function, data))
            return data.answers[function](*args)

        return cast(Function, answer)

    return decorate
