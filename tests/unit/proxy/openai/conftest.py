"""Properties here are about bytes, not about time: a busy machine is no failure."""

from hypothesis import HealthCheck, settings

settings.register_profile("shapes", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shapes")
