"""`python -m proxy` is `penstock`."""

if __name__ == "__main__":
    # Here, so that processes that are spawned do not load the command line.
    from .cli import main

    main()
