"""The WSGI entry point, served by gunicorn (see rtmanager/gunicorn.py)."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rtmanager.settings")

_django = get_wsgi_application()

from rtmanager.api.bodies import DrainedBodies, MeasuredBodies  # noqa: E402  # what it imports needs Django set up

application = DrainedBodies(MeasuredBodies(_django))
