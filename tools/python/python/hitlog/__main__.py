"""The command ``hitlog``, also as ``python -m hitlog``."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the command with the arguments of this process and return its exit status."""
    from . import _native

    # Python ignores it, and a command that is started would inherit that.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    # Python's own handler would raise KeyboardInterrupt here after the command ended.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _native.main(["hitlog", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
