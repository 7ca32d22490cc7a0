"""`python -m cli` is the command `anabranch`."""

from cli.main import main

main()
