"""`python -m tfft` is `tfft`."""

from tfft.cli import main

if __name__ == "__main__":
    main()
