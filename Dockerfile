# The service without its development tools: one image for every process. Any image with Python 3.11 to 3.13 as python3 and with
# a POSIX shell can be the base; without a registry, deploy/image/base.py makes one of Debian packages.
ARG BASE=python:3.13-slim
FROM ${BASE} AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1
COPY deploy/requirements deploy/requirements
# pip stays outside: the environment of the service cannot install anything.
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes -r deploy/requirements/build.txt \
    && python3 -m venv --without-pip /opt/rtmanager \
    && /opt/build/bin/pip --python /opt/rtmanager/bin/python install --require-hashes -r deploy/requirements/traces.txt
COPY pyproject.toml README.md LICENSE ./
COPY rtmanager rtmanager
COPY runtimes runtimes
COPY operations operations
COPY tasks tasks
# Translations of Django are half of its size, and the service is in English.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /src/dist . \
    && /opt/build/bin/pip --python /opt/rtmanager/bin/python install --no-index dist/*.whl \
    && /opt/build/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --mc-type application \
       --output-file /opt/rtmanager/sbom.cdx.json /opt/rtmanager/bin/python \
    && find /opt/rtmanager -path '*/locale/*' \( -name '*.po' -o -name '*.mo' \) -delete \
    && python3 -m compileall -q -j 0 /opt/rtmanager/lib
COPY deploy/image/entrypoint deploy/image/healthcheck /opt/rtmanager/bin/
RUN chmod 755 /opt/rtmanager/bin/entrypoint /opt/rtmanager/bin/healthcheck

FROM ${BASE}
LABEL org.opencontainers.image.title="Runtime Manager" org.opencontainers.image.licenses="MIT"
# By default the C library keeps a heap for nearly every thread: a tenth of the memory of a worker. Games run as the user of the
# service: only root could give a state directory to another one.
ENV PATH=/opt/rtmanager/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=2 \
    DJANGO_SETTINGS_MODULE=rtmanager.settings \
    RTMANAGER_GAME_STATE_OWNER_UID=10001 RTMANAGER_GAME_STATE_OWNER_GID=10001 RTMANAGER_CONTAINER_USER=10001:10001
RUN groupadd --system --gid 10001 rtmanager \
    && useradd --system --uid 10001 --gid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin rtmanager
COPY --from=build /opt/rtmanager /opt/rtmanager
WORKDIR /opt/rtmanager
USER 10001:10001
EXPOSE 8096
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["healthcheck"]
ENTRYPOINT ["entrypoint"]
CMD ["rtmanager", "run_all"]
