"""`python -m fusioninfer`: the command line, where its scripts are not on the PATH."""

from fusioninfer.cli.main import app

app(prog_name="fusioninfer")
