"""`python -m malmoi` is `malmoi`."""

from malmoi.cli.main import main

main()
