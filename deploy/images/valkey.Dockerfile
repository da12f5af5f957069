# Valkey 8 (server, sentinel, client) of Debian's backports, as on the local testbed, with a shell for deploy/valkey/*.sh.
#
#   docker build -f deploy/images/valkey.Dockerfile -t seatrial/valkey:dev .
ARG BASE=debian:bookworm-slim
FROM ${BASE}
# The backports are beside the suites that the base image has, whatever mirror those are from.
RUN sed '/^URIs:.*security/d; s/^Suites:.*/Suites: bookworm-backports/' /etc/apt/sources.list.d/debian.sources \
      | awk 'BEGIN { RS = "" } /URIs:/ { print $0 "\n" }' >/etc/apt/sources.list.d/backports.sources \
 && apt-get update \
 && apt-get install -y --no-install-recommends -t bookworm-backports valkey-server valkey-tools valkey-sentinel \
 && apt-get install -y --no-install-recommends mawk \
 && rm -rf /var/lib/apt/lists/* \
 && valkey-server --version && valkey-cli --version && test -x "$(command -v valkey-sentinel)"
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/bin/sh"]
