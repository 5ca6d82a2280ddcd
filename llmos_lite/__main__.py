"""`python -m llmos_lite` is `llmos`."""

from llmos_lite.cli.main import main

if __name__ == "__main__":
    main()
