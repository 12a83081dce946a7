"""Typed wrappers over the compiled core. Nothing outside this package may import `celeriac._core`."""
