"""The shop: settings, one view, and the middleware around them in `wsgi`."""
