"""`python -m n2n_cli`: the command line, where the `n2n` script is not on the path."""

from n2n_cli.cli.app import main

if __name__ == "__main__":
    main()
