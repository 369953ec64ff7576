"""Every error this package raises on purpose.

    SummitError
    ├── ConfigError          an option or a configuration file
    ├── ModelError           a network
    │   ├── WeightsError         its weights
    │   ├── TraceError           its layer graph
    │   └── LayerNotFoundError   a layer name
    ├── DatasetError         an image set
    │   └── ClassMappingError    its classes' places in the network's outputs
    ├── StoreError           a store on disk
    │   ├── StoreVersionError    written in another format version
    │   ├── StoreMismatchError   made with another configuration
    │   ├── StoreIncompleteError a stage that has to run first
    │   └── StoreBusyError       another process that changes it
    ├── ClassNotFoundError   a class name
    ├── GroupNotFoundError   a column to group images by, or a group of it
    ├── ClusterError         the Dask cluster
    ├── NumericalError       NaN, infinity or overflow
    └── FormatError          a file of another program

A message says what is wrong, where, both values, and what to do. The command line prints it
and exits with 2.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class SummitError(Exception):
    """Root of all errors that a user can mend."""


class ConfigError(SummitError):
    """An option or a configuration file is not usable."""


class ModelError(SummitError):
    """A network can't be loaded."""


class WeightsError(ModelError):
    """Weights are missing, of a refused kind, or don't fit the network."""


class TraceError(ModelError):
    """A network's layer graph can't be found."""


class LayerNotFoundError(ModelError):
    """A layer of that name doesn't exist."""


class DatasetError(SummitError):
    """An image set can't be read."""


class ClassMappingError(DatasetError):
    """The image set's classes can't be matched to the network's outputs."""


class StoreError(SummitError):
    """A store is missing, broken or not a store."""


class StoreVersionError(StoreError):
    """The store was written in another format version."""


class StoreMismatchError(StoreError):
    """The store was made with another configuration."""


class StoreIncompleteError(StoreError):
    """The store lacks something that an earlier stage makes."""


class StoreBusyError(StoreError):
    """Another process is changing the store."""


class ClassNotFoundError(SummitError):
    """No class, or more than one, has that name."""


class GroupNotFoundError(SummitError):
    """Images have no such column, it makes no groups, or none of that name."""


class ClusterError(SummitError):
    """The Dask cluster can't be reached or lacks what is needed."""


class DeviceMemoryError(SummitError):
    """A GPU's memory is too small for what was asked."""


class NumericalError(SummitError):
    """A value is NaN, infinite or too large for its place."""


class FormatError(SummitError):
    """A file of another program is not what it should be."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """End of a message about an unknown name: the nearest known ones, or all if there are few.

    Parameters
    ----------
    name
        What was asked for.
    known
        The names that exist; may be empty.

    Returns
    -------
    str
        A sentence, without a space before it.
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(repr(n) for n in near)}?"
    shown = ", ".join(names[:12]) or "none"
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"There are: {shown}{more}."
