"""`penstock`, and `python -m proxy`.

The command line is imported when it is run, not here: processes that are spawned import this module again.
"""


def main() -> None:
    from .cli import main

    main()


if __name__ == "__main__":
    main()
