"""`python -m fem_core` is `fem`."""

from fem_core.cli import main

if __name__ == "__main__":
    main()
