"""As little as Django needs. A real shop reads its secret from its environment."""

SECRET_KEY = "for this example alone"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
USE_TZ = True
