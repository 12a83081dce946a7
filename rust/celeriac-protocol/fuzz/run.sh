#!/bin/sh
# run.sh <target> [seconds]: fuzzes one target with libFuzzer on stable Rust. Corpora stay in target/, out of the repository.
set -eu
cd "$(dirname "$0")"
target=$1 seconds=${2:-60}
# What `cargo fuzz` passes, less the address sanitizer, which needs a nightly compiler.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing" \
    cargo build --release --quiet --bin "$target" --target "$(rustc -vV | sed -n 's/host: //p')"
corpus=target/corpus/$target
mkdir -p "$corpus"
if [ -z "$(ls "$corpus")" ]; then
    python3 - "$corpus" ../../../tests/compat/vectors <<'PYTHON'
import base64, json, pathlib, sys
corpus, vectors = map(pathlib.Path, sys.argv[1:])
for path in [*vectors.glob("task-redis/*.json"), *vectors.glob("task-amqp/*.json"), *vectors.glob("serialization/*.json"), *vectors.glob("reading/*.json")]:
    data = json.loads(path.read_text())
    raws = data["raw"] if isinstance(data["raw"], list) else [data["raw"]]
    for index, raw in enumerate(raw for raw in raws if isinstance(raw, str)):
        name = f"{path.stem}-{index}"
        (corpus / name).write_bytes(raw.encode())
        try:
            (corpus / f"{name}-binary").write_bytes(base64.b64decode(raw, validate=True))
        except ValueError:
            pass
PYTHON
fi
exec target/*/release/"$target" "$corpus" -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=2048 -print_final_stats=1
