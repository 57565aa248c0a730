# One image for every process of Lemnos: compose.yaml says which command each container runs.
# Without a registry: docker build --build-arg BASE=<any image with Python 3.11 or newer and pip> .
ARG BASE=python:3.13-slim
FROM ${BASE}

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PIP_BREAK_SYSTEM_PACKAGES=1 \
    HOME=/tmp \
    LEMNOS_DATA_DIR=/data \
    LEMNOS_BIND=0.0.0.0 \
    LEMNOS_PORT=8000 \
    LEMNOS_LOG_FORMAT=json

WORKDIR /app
# First what seldom changes, so that a new version of the code is one small layer.
COPY requirements.txt requirements-nodeps.txt ./
RUN python3 -m pip install --requirement requirements.txt \
 && python3 -m pip install --no-deps --requirement requirements-nodeps.txt
COPY . .
# Compiled now: the root file system is read-only while it runs.
RUN find /app ! -perm -o=r -exec chmod a+rX {} + \
 && python3 -m compileall -q -j 0 /app \
 && install -d -o 10001 -g 10001 -m 0700 /data

USER 10001:10001
VOLUME ["/data"]
EXPOSE 8000
STOPSIGNAL SIGTERM
# /livez asks no database: an installation whose database is away is not helped by new web processes.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['LEMNOS_PORT'] + '/livez', timeout=4)"]
CMD ["python3", "manage.py", "web"]
