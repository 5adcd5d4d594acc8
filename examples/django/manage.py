"""A shop on Django whose release is ramped. Every request counts for the version that served it.

RAMPGATE_URL=https://flags.example.com RAMPGATE_KEY=rg_sdk_… python examples/django/manage.py runserver
"""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    execute_from_command_line(sys.argv)
