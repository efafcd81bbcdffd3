"""`python -m deployer` is the `deploy` command."""

from deployer.cli import main

if __name__ == "__main__":
    main()
