FROM python:3.11.14-slim
RUN useradd --uid 10001 --create-home hotswap \
    && install --directory --owner hotswap --mode 0750 /var/lib/hotswap /var/lib/hotswap/bundles
WORKDIR /opt/hotswap
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes --requirement requirements.txt
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation .
USER hotswap
