#!/usr/bin/env bash
# Packs what a bare machine with a GPU lacks into .gpu/: wheels, and Imagenette's images at 96 px as one archive.
# Usage: tests/benchmarks/pack_gpu.sh IMAGES [PYTHON_VERSION], where IMAGES holds train/ and val/ of JPEG files.
set -euo pipefail
images=$1 version=${2:-3.12}
mkdir -p .gpu/wheels
platforms=(28 27 24 17)
options=(--no-deps --only-binary=:all: --python-version "$version" --implementation cp --platform manylinux2014_x86_64)
for number in "${platforms[@]}"; do options+=(--platform "manylinux_2_${number}_x86_64"); done
installed=$(pip freeze)
for name in optuna yacs termcolor SQLAlchemy alembic Mako colorlog portalocker pydantic pydantic_core greenlet \
  annotated-types typing-inspection; do
  pinned=$(grep -i "^$name==" <<<"$installed" || echo "$name")
  pip download --quiet "${options[@]}" --dest .gpu/wheels "$pinned"
done
pip wheel --quiet --no-deps --wheel-dir .gpu/wheels fvcore iopath
python - "$images" .gpu/imagenette96.tar.gz <<'PY'
import io, sys, tarfile
from pathlib import Path
from PIL import Image

ROOT, SIDE = Path(sys.argv[1]), 96


def encoded(path: Path) -> tuple[str, bytes]:
    made = io.BytesIO()
    image = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    image.save(made, "JPEG", quality=85, optimize=True)
    return str(path.relative_to(ROOT)), made.getvalue()


files = sorted(path for path in ROOT.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
with tarfile.open(sys.argv[2], "w:gz", compresslevel=1) as archive:
    for name, data in map(encoded, files):
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
PY
du -sh .gpu
