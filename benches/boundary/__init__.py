"""What one call of `celeriac._core` costs, as Python sees it."""
