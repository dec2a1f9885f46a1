"""The WSGI entry point. ``manage.py run_web`` serves it."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rtmanager.settings")

application = get_wsgi_application()
