"""What is released holds nothing that only tests need."""

from __future__ import annotations

from pathlib import Path

from hitlog import _native


def test_no_storage_that_fails_on_purpose_is_built_in() -> None:
    assert _native.__file__ is not None
    library = Path(_native.__file__).read_bytes()
    # Panics tell where they happen, so the name of each module with one is in the library.
    assert b"src/writer/process.rs" in library
    assert b"src/storage/memory.rs" not in library
