"""What may go wrong in a store, and whose fault it is.

`StoreUnavailable` is nobody's mistake and passes; the request was surely not carried out.
`OutcomeUnknown` means that it may have been: settle it, never guess (DESIGN.md §6).
"""


class StoreError(Exception):
    """Base of everything a store raises on purpose."""


class StoreUnavailable(StoreError):
    """The store cannot be reached now. Nothing was written; trying again later helps."""


class OutcomeUnknown(StoreError):
    """A write was sent and its answer lost. It may or may not have been applied."""


class NameTaken(StoreError):
    """The login name belongs to somebody else."""


class TooMany(StoreError):
    """A limit that the store guards in the same transaction was reached."""


class DataDirectoryInUse(StoreError):
    """Another process has this data directory open."""


class Corrupt(StoreError):
    """A stored checksum does not match, or the schema is not one this program knows."""


class NotEmpty(StoreError):
    """A place to copy into holds something else."""
