"""The command line: parse, then call. Each command is a module, imported when it is used."""
