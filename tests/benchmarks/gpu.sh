#!/usr/bin/env bash
# A few minutes of a GPU on a bare machine, with what pack_gpu.sh packed into .gpu/; the results are in OUT, whatever ends it.
# Usage: tests/benchmarks/gpu.sh OUT SECONDS PART...: acceptance, overhead, graphs, native, banks/phi1, table3-2x, …
# The same parts again, with /tmp/runs kept, go on where they stopped. OPTIONS=--cuda-graphs, TOGETHER: workers; PYTHON, DEVICE, IMAGES: for a rehearsal elsewhere.
set -uo pipefail
out=$1 end=$((SECONDS + $2))
left() { echo $((end - SECONDS)); }
python=${PYTHON:-python3}
export OMP_NUM_THREADS=2 PYTHONUNBUFFERED=1 PYTHONPATH="/tmp/site:$PWD" SCALESEARCH_CACHE=/tmp/cache
mkdir -p "$out" /tmp/images
touch "$out/began"
if [ ! -d /tmp/site ]; then
  $python -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target /tmp/site .gpu/wheels/*.whl
fi
[ -d /tmp/images/train ] || tar xzf .gpu/imagenette96.tar.gz -C /tmp/images
keep() {
  tar czf "$out/runs.tgz" --exclude=checkpoints --exclude=weights -C /tmp runs 2>/dev/null
  find results/benchmarks -name '*gpu*' -newer "$out/began" -exec cp {} "$out" \;
}
trap keep EXIT
search() {
  local name; name=$(basename "$1"); shift
  # shellcheck disable=SC2086
  timeout -s INT -k 20 "$(($(left) - 25))" $python -m scalesearch "$@" --data "folder:${IMAGES:-/tmp/images}" \
    --device "${DEVICE:-auto}" --out "/tmp/runs/$name" ${OPTIONS:-} > "$out/$name.log" 2>&1
  echo "exit $?"; grep -c "img/s" "$out/$name.log"; tail -6 "$out/$name.log"
}
shift 2
for part in "$@"; do
  echo "== $part ($(left) s left)"
  case $part in
    acceptance) timeout "$(left)" $python -m tests.benchmarks acceptance --together 10 ;;
    overhead) timeout "$(left)" $python -m tests.benchmarks overhead ;;
    graphs) timeout "$(left)" $python -m tests.benchmarks overhead --cuda-graphs ;;
    native) timeout "$(left)" $python -m tests.benchmarks native --seconds 1 --rounds 2 ;;
    banks/*) search "$part" grid --recipe "results/$part.yaml" --per-device "${TOGETHER:-6}" ;;
    table3-*) search "$part" compare --baseline mobilenet_v2 --baseline resnet18 --baseline mobilenet_v1 \
      --match-macs "${part#table3-}" --match-tolerance 0.04 --recipe results/evidence/imagenette.yaml --resolution 64 \
      --workers "${TOGETHER:-6}" ;;
  esac
  keep
done
echo "== over ($(left) s left)"
