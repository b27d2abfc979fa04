"""Every error a user can cause, as a tree by remedy.

::

    HeadwaterError
    ├── SettingsError       the configuration must be changed
    ├── BundleError         the model bundle is damaged, unsigned or does not fit
    ├── UnsupportedError    what was asked for cannot be done with this model or version
    ├── PeerError           the other side broke the protocol
    ├── UnreachableError    the network, broker or coordinator is away
    ├── StorageError        the disk, a file or a database is at fault
    ├── NotNowError         it is not allowed at this time
    └── LedgerError         what left the device and what is written down differ

Each message is a sentence that says what is wrong, where, and what to do.
"""

from __future__ import annotations


class HeadwaterError(Exception):
    """Base of all errors that are shown to a user without a traceback.

    ``exit_code`` is what the ``headwater`` command exits with; codes are never reused.
    """

    exit_code = 1


class SettingsError(HeadwaterError):
    """The configuration must be changed; the message carries the path of the key."""

    exit_code = 3


class BundleError(HeadwaterError):
    """A model bundle is damaged, unsigned, or does not fit what it is used for."""

    exit_code = 4


class UnsupportedError(HeadwaterError):
    """What was asked for cannot be done with this model, operator or version."""

    exit_code = 5


class PeerError(HeadwaterError):
    """The other side sent something that the protocol does not allow."""

    exit_code = 6


class UnreachableError(HeadwaterError):
    """The broker, the coordinator or the network is away."""

    exit_code = 7


class StorageError(HeadwaterError):
    """A file or a database cannot be read or written."""

    exit_code = 8


class NotNowError(HeadwaterError):
    """The owner's settings do not allow it at this time; later they may."""

    exit_code = 9


class LedgerError(HeadwaterError):
    """The ledger of what left was changed, or the coordinator received what is not in it."""

    exit_code = 10
