"""Hypothesis keeps no database here: a failure prints its example, and runs must not depend on earlier ones."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("compat", database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("compat")
