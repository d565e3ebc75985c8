"""The command ``hitlog``, also as ``python -m hitlog``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command with the arguments of this process and return its exit status."""
    from . import _native

    return _native.main(["hitlog", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
