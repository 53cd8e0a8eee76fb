"""``python -m autoselection`` is the command line."""

from autoselection.cli import main

if __name__ == "__main__":
    main()
