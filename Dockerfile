# The service without its development tools. One image for every process; compose.yaml shows which.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.txt pyproject.toml ./
COPY rtmanager rtmanager
COPY runtimes runtimes
COPY operations operations
COPY tasks tasks
# The pins are constraints here: what only development needs is pinned too, but not installed.
RUN python -m venv /opt/rtmanager \
    && sed 's/[[:space:]]*#.*//' requirements.txt > /tmp/constraints.txt \
    && touch README.md \
    && /opt/rtmanager/bin/pip install --no-cache-dir --constraint /tmp/constraints.txt . \
    && /opt/rtmanager/bin/pip uninstall --yes rtmanager \
    && printf '#!/bin/sh\nexport PYTHONPATH=/srv/rtmanager\nexec python -m rtmanager.cli "$@"\n' > /opt/rtmanager/bin/rtm \
    && chmod 755 /opt/rtmanager/bin/rtm

FROM python:3.11-slim
# By default the C library keeps a heap for nearly every thread: a tenth of the memory of a worker.
ENV PATH=/opt/rtmanager/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=2 \
    DJANGO_SETTINGS_MODULE=rtmanager.settings
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin rtmanager
COPY --from=build /opt/rtmanager /opt/rtmanager
WORKDIR /srv/rtmanager
COPY . .
USER rtmanager
EXPOSE 8096
CMD ["gunicorn", "-c", "python:rtmanager.gunicorn", "rtmanager.wsgi:application"]
