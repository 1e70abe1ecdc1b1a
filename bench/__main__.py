"""`python -m bench` and the command `bench`."""

from bench.cli import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
