"""Networks of the user's own: a class or function in a file or a package."""

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from summit_dask.facts.errors import ConfigError, ModelError, suggestion
from summit_dask.network.zoos.found import FoundNetwork, WeightsFile

#: What code of the user's own may raise; a script without its guard parses its command line and ends.
ANY_ERROR = (Exception, SystemExit)


def own_network(model: str, weights: str | None, weights_key: str | None) -> FoundNetwork:
    """A network of the user's own, as `find_network` says.

    Raises
    ------
    ModelError, ConfigError
        As `find_network`.
    """
    source, separator, name = model.rpartition(":")
    if not separator or not source or not name:
        raise ModelError(
            f"The model {model!r} isn't one of torchvision:NAME, timm:NAME, transformers:FOLDER, path/to/file.py:Class "
            "and package.module:factory."
        )
    if weights is None and weights_key is not None:
        raise ConfigError(f"The option 'weights_key' is {weights_key!r}, but no weights are given; give --weights.")
    file = None if weights is None else WeightsFile(Path(weights), weights_key)
    return FoundNetwork(_built(model, _factory(source, name)), file)


def _factory(source: str, name: str) -> Any:
    module = _file_module(Path(source)) if source.endswith(".py") else _package_module(source)
    if not hasattr(module, name):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ModelError(f"There is no {name!r} in {source}. {suggestion(name, public)}")
    return getattr(module, name)


def _file_module(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise ModelError(f"There is no file {path} to take the network from.")
    name = f"_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))  # the file may import its neighbours
    try:
        spec.loader.exec_module(module)
    except ANY_ERROR as error:
        raise ModelError(f"{path} can't be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _package_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ANY_ERROR as error:
        raise ModelError(
            f"The module {name} can't be imported: {type(error).__name__}: {error}. A file is given as path/to/file.py."
        ) from error


def _built(model: str, factory: Any) -> nn.Module:
    try:
        module = factory()
    except ANY_ERROR as error:
        raise ModelError(
            f"{model} can't be built: {type(error).__name__}: {error}. It is called without arguments; "
            "write a function without any that builds the network."
        ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{model} gives a {type(module).__name__}, expected a torch.nn.Module.")
    return module
