"""Adjustments of an app to the framework that it is used in."""
