"""`python -m n2n_cli`: the command line without the `n2n` script on the path."""

from n2n_cli.cli.app import main

if __name__ == "__main__":
    main()
