"""Indexes every text file below a folder on the embedded broker: `python -m examples.indexer [FOLDER]`."""
