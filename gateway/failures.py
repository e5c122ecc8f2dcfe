"""What went wrong, in one line for whoever sits at the command line."""

from __future__ import annotations


def in_one_line(error: BaseException) -> str:
    """The text of an error; of the operating system's the file or address it is about comes first.

    Of an exception group, its first real exception."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return " ".join(text.split())
