"""`python -m tickloom`: the command line."""

from tickloom.scripts.cli import main

if __name__ == "__main__":
    main()
