"""Makes methods of clients out of functions that build calls.

So a method's arguments and documentation are written once, for the sync and the async client, and type checkers see
both: where a function gives `ApiCall[Generated]`, the method gives `Generated`.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar, get_args

from loragen.client.call import ApiCall
from loragen.client.session import AsyncSession, Session

P = ParamSpec("P")
T = TypeVar("T")
_Method = TypeVar("_Method", bound=Callable[..., Any])


def sends(build: Callable[P, ApiCall[T]]) -> Callable[Concatenate[Session, P], T]:
    """A method that sends the call which `build` makes."""

    def method(self: Session, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(build(*args, **kwargs))

    return _documented(method, build)


def sends_async(build: Callable[P, ApiCall[T]]) -> Callable[Concatenate[AsyncSession, P], Awaitable[T]]:
    """The async twin of `sends`."""

    async def method(self: AsyncSession, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(build(*args, **kwargs))

    return _documented(method, build)


def streams(build: Callable[P, ApiCall[T]]) -> Callable[Concatenate[Session, P], Iterator[T]]:
    """A method that yields the events of the answer to the call which `build` makes."""

    def method(self: Session, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self.stream(build(*args, **kwargs))

    return _documented(method, build)


def streams_async(build: Callable[P, ApiCall[T]]) -> Callable[Concatenate[AsyncSession, P], AsyncIterator[T]]:
    """The async twin of `streams`."""

    def method(self: AsyncSession, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self.stream(build(*args, **kwargs))

    return _documented(method, build)


def _documented(method: _Method, build: Callable[..., Any]) -> _Method:
    signature = inspect.signature(build)
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    (result,) = get_args(signature.return_annotation)  # of ApiCall[T]
    signature = signature.replace(parameters=[this, *signature.parameters.values()], return_annotation=result)
    setattr(method, "__signature__", signature)  # noqa: B010 - mypy knows no such attribute
    method.__name__, method.__doc__ = build.__name__, build.__doc__
    return method
