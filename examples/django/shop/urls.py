"""Where it is."""

from django.urls import path

from shop.views import basket

urlpatterns = [path("basket", basket)]
