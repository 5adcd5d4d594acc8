"""What a WSGI server runs: Django, and around it the middleware that counts outcomes."""

from django.core.wsgi import get_wsgi_application

from rampgate.client.wsgi import FlagMiddleware
from shop.flags import client

application = FlagMiddleware(get_wsgi_application(), client, "shop", user=lambda environ: environ.get("HTTP_X_USER"))
