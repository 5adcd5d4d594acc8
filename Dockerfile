# Two images from one file: `--target flagserver` is the flag server; the last stage is the gate, which GitHub builds
# for `uses: ./`. Digest pins go into PYTHON_IMAGE.
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS tools
WORKDIR /build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements-build.txt ./
RUN python -m venv tools \
    && tools/bin/python -m pip install -qq --require-hashes -r requirements-build.txt \
    && python -m venv --without-pip /opt/rampgate

FROM tools AS wheels
COPY LICENSE pyproject.toml ./
COPY sdk sdk
COPY rampgate rampgate
COPY gate gate
COPY flagserver flagserver
RUN tools/bin/python -m pip wheel -qq --no-deps --no-build-isolation -w wheels ./sdk .

FROM tools AS gate-installed
COPY requirements-gate.txt ./
RUN tools/bin/python -m pip --python /opt/rampgate/bin/python install -qq --require-hashes -r requirements-gate.txt \
    # boto3 describes all of AWS in 28 MB; the gate asks for metrics, and signs in to do so
    && find /opt/rampgate/lib/python3*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d \
        ! -name cloudwatch ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -r {} +
COPY --from=wheels /build/wheels wheels
RUN tools/bin/python -m pip --python /opt/rampgate/bin/python install -qq --no-deps --no-index wheels/*.whl \
    && rm -r /opt/rampgate/bin/flagserver /opt/rampgate/lib/python3*/site-packages/flagserver \
    # 16 MB for signatures by GitHub Apps and a few push services: the gate has a token, and verifies nothing itself
    && rm -r /opt/rampgate/lib/python3*/site-packages/cryptography \
    && find /opt/rampgate/lib/python3*/site-packages/apprise/i18n \( -name '*.mo' -o -name '*.po' \) ! -path '*/en/*' -delete \
    # 6 MB to encrypt secrets of Actions, which the gate never writes; PyGithub asks for the names alone
    && rm -r /opt/rampgate/lib/python3*/site-packages/nacl /opt/rampgate/lib/python3*/site-packages/*cffi* \
        /opt/rampgate/lib/python3*/site-packages/pycparser \
    && for name in __init__ encoding public; do \
        install -D -m 644 /dev/null "$(echo /opt/rampgate/lib/python3*/site-packages)/nacl/$name.py"; done \
    # -I: the workspace and the caller's PYTHONPATH hold foreign code, which must never be imported by the gate
    && sed -i '1s|.*|#!/opt/rampgate/bin/python -I|' /opt/rampgate/bin/rampgate-action /opt/rampgate/bin/rampgate-action-post

FROM tools AS flagserver-installed
COPY requirements-server.txt ./
RUN tools/bin/python -m pip --python /opt/rampgate/bin/python install -qq --require-hashes -r requirements-server.txt
COPY --from=wheels /build/wheels wheels
RUN tools/bin/python -m pip --python /opt/rampgate/bin/python install -qq --no-deps --no-index wheels/*.whl \
    && rm /opt/rampgate/bin/rampgate*

FROM ${PYTHON_IMAGE} AS flagserver
COPY --from=flagserver-installed /opt/rampgate /opt/rampgate
# the base has its library as text alone, and this image's user may not write beside it: each health check would compile
RUN ["/opt/rampgate/bin/python", "-I", "-c", "import flagserver.cli, flagserver.serve, urllib.request"]
ENV PATH=/opt/rampgate/bin:$PATH PYTHONUNBUFFERED=1
STOPSIGNAL SIGTERM
RUN useradd --no-log-init --uid 10001 --home-dir /data --create-home flagserver
USER 10001
WORKDIR /data
VOLUME /data
ENV FLAGSERVER_DATABASE_URL=sqlite:////data/flags.db FLAGSERVER_LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['FLAGSERVER_LISTEN'].rpartition(':')[2] + '/healthz', timeout=2)"]
ENTRYPOINT ["flagserver"]
CMD ["serve"]

# No USER and no WORKDIR here: GitHub's runner mounts the workspace with its own owner and sets the working folder.
FROM ${PYTHON_IMAGE} AS gate
# ssh, for two of the deployers and for hooks; without what serves smart cards and keys of the host itself
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openssh-client >/dev/null \
    && rm -rf /usr/lib/openssh /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/lib/dpkg/*-old /var/log/*
COPY --from=gate-installed /opt/rampgate /opt/rampgate
# the base has its library as text alone, which each start would compile anew: a second from start to first call
RUN ["/opt/rampgate/bin/python", "-I", "-c", "import apprise, boto3, gate.app, gate.cli, gate.early, gate.github.api"]
ENV PATH=/opt/rampgate/bin:$PATH PYTHONUNBUFFERED=1
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/rampgate/bin/rampgate-action"]
