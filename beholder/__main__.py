"""`python -m beholder`, where the console script is not on the path."""

from beholder.cli import main

if __name__ == "__main__":
    main()
