"""ccxt with the one venue that is asked for: its packages import some hundred venues each when they are imported.

That takes 0.4 s and 40 MB of each process. A venue's module needs only the packages' submodules, so both packages
are entered into `sys.modules` with their `__init__` not run yet; it runs as soon as somebody asks for a name that only
it could give. Where ccxt was imported before, it stays as it is.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any, Final

_SYNCHRONOUS: Final = "ccxt"
_ASYNCHRONOUS: Final = "ccxt.async_support"
_STREAMING: Final = "ccxt.pro"
_DUNDERS: Final = ("__version__", "__author__", "__all__")
"""Names of this form that the packages define; asking a module for others (`__wrapped__`) is how tools look at it."""


class _PostponedPackage(ModuleType):
    """A package that can find its submodules and has not run its `__init__`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in _DUNDERS:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        for origin in ("ccxt.base.errors", f"{self.__name__}.base.exchange"):
            # Errors and `Exchange` are all that ccxt's own modules take from it; it has them from there, too.
            found = getattr(sys.modules.get(origin), name, None)
            if isinstance(found, type) and found.__module__ == origin:
                setattr(self, name, found)
                return found
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec = self.__spec__
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module(self)
        return getattr(self, name)


def _postpone(name: str) -> None:
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"package {name} is not installed: install what requirements.lock names")
    package = importlib.util.module_from_spec(spec)
    package.__class__ = _PostponedPackage
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)


_postpone(_SYNCHRONOUS)
_postpone(_ASYNCHRONOUS)

from ccxt.base import errors  # noqa: E402 - the packages above come first


def venue_class(venue: str) -> Any:
    """ccxt's asynchronous class of a venue, by its id: what `ccxt.async_support.<id>` is.

    Raises:
        ValueError: ccxt has no such venue.
    """
    name = f"{_ASYNCHRONOUS}.{venue}"
    if venue.isidentifier() and importlib.util.find_spec(name) is not None:
        found = getattr(importlib.import_module(name), venue, None)
        _name_classes(sys.modules[_ASYNCHRONOUS])
        if isinstance(found, type):
            return found
    raise ValueError(f"ccxt has no venue {venue!r}: expected a ccxt id, such as binance")


def streaming_class(venue: str) -> Any:
    """ccxt.pro's class of a venue, by its id: what `ccxt.pro.<id>` is. Imported when first asked for: 6 ms, 1 MB.

    Raises:
        ValueError: ccxt has no such venue, or no streams of it.
    """
    venue_class(venue)  # it stands on the other package's classes, which have to have their names by now
    _postpone(_STREAMING)
    name = f"{_STREAMING}.{venue}"
    if importlib.util.find_spec(name) is not None:
        found = getattr(importlib.import_module(name), venue, None)
        _name_classes(sys.modules[_STREAMING])
        if isinstance(found, type):
            return found
    raise ValueError(f"ccxt.pro has no venue {venue!r}: its orders can only be asked for")


def _name_classes(package: ModuleType) -> None:
    """What the package's `__init__` does with each venue: its name stands for the class, not for the module."""
    for name, value in list(vars(package).items()):
        if isinstance(value, ModuleType) and isinstance(getattr(value, name, None), type):
            setattr(package, name, getattr(value, name))


__all__ = ["errors", "streaming_class", "venue_class"]
