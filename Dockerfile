# Crosswalk and Airflow in one image; docker-compose.yaml runs every service from it.
FROM python:3.11-slim

# LocalExecutor starts tasks in scheduler processes; time zones come from the operating system.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tzdata \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 50000 --create-home --home-dir /opt/airflow airflow \
    && mkdir -p /opt/crosswalk /var/lib/crosswalk \
    && chown airflow: /opt/airflow /var/lib/crosswalk

WORKDIR /opt/crosswalk

# Packages first: they change seldom. pip compiles them; every Airflow process starts 3 s slower without.
COPY requirements.txt ./
RUN pip install --no-cache-dir --no-deps --compile --requirement requirements.txt

COPY pyproject.toml requirements.in README.md LICENSE ./
COPY include ./include
COPY dags ./dags
COPY plugins ./plugins
RUN pip install --no-cache-dir --no-deps --editable . \
    && python -m compileall -q include

USER airflow
ENV AIRFLOW_HOME=/opt/airflow
CMD ["airflow", "version"]
