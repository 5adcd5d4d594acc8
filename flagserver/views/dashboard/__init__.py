"""The dashboard: what ramps now and what happened, for people with a browser, and the orders that they may give."""

from flagserver.views.dashboard.pages import Dashboard

__all__ = ["Dashboard"]
