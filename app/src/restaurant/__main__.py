"""`python -m restaurant` is the command `restaurant`."""

from __future__ import annotations

from restaurant.cli import main

if __name__ == "__main__":
    main()
