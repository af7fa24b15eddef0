# scalesearch for machines with NVIDIA GPUs; without one it runs on the CPU. docs/many-machines.md says how to use it.
# torch's own packages bring CUDA: of the host it needs the driver and the NVIDIA Container Toolkit.
FROM python:3.12-slim

# torch.compile and Triton build what they run
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc g++ \
    && rm -rf /var/lib/apt/lists/*

# which of the extras to install, as `--build-arg EXTRAS=timm,ray`
ARG EXTRAS=timm,postgresql,tensorboard
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY scalesearch scalesearch
COPY recipes recipes
RUN pip install --no-cache-dir ".[${EXTRAS}]" && rm -rf /src/*

# not root; a host's own user (--user) may write there too
RUN useradd --create-home scalesearch && install --directory --mode=1777 /cache /work
ENV SCALESEARCH_CACHE=/cache MPLCONFIGDIR=/cache/matplotlib TORCHINDUCTOR_CACHE_DIR=/cache/inductor
USER scalesearch
WORKDIR /work
ENTRYPOINT ["scalesearch"]
CMD ["--help"]
