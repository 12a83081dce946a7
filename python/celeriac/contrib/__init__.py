"""Helpers that an application may use; nothing here is imported by celeriac itself."""
