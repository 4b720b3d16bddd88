# Lists all recipes.
default:
    @just --list --unsorted

# Runs the tests, with few seeds and rounds each.
test *ARGS:
    cargo test {{ ARGS }}

# Runs the tests in their long form, as CI does: hundreds of seeds, thousands of connections and children.
test-all *ARGS:
    ERPS_TEST_ALL=1 cargo test {{ ARGS }}

# Runs all checks of CI.
ci:
    .ci/run

# Runs clippy with warnings as errors.
lint:
    cargo clippy --all-targets --all-features -- -D warnings

# Formats the sources.
fmt:
    cargo fmt --all

# Builds the documentation and prints its path.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
    @echo "target/doc/erps/index.html"

# Runs the numbered examples, one after the other.
examples:
    #!/usr/bin/env bash
    set -euo pipefail
    for source in examples/[0-9]*.rs; do
        name=$(basename "$source" .rs)
        echo "== $name"
        cargo run --quiet --example "$name"
    done

# Runs one numbered example: `just example 3`.
example N:
    cargo run --quiet --example "$(basename examples/"$(printf %02d "{{ N }}")"_*.rs .rs)"

# Runs the tests of the programs in examples/apps, which have dependencies of their own.
apps:
    cargo test -p erps-apps

# Runs the tests on 64 threads, and each test made by `erps::test` in 20 concurrent copies, to find state that
# tests share by mistake. Skipped are tests that depend on real time, because of Erlang nodes or of what they
# measure: under this load they would test the machine.
parallel THREADS="64" COPIES="20":
    cargo build --quiet --examples
    ERPS_REPLICATION="{{ COPIES }}" cargo test --quiet --test it -- \
        --test-threads "{{ THREADS }}" --skip erlang:: --skip certificates_rotate \
        --skip less_than_a_minute

# Measures what hostile peers cost a good one, with this many seconds per attack and this many attackers.
hostile SECONDS="4" ATTACKERS="1":
    cargo run --release --manifest-path benches/Cargo.toml --bin hostile {{ SECONDS }} {{ ATTACKERS }}

# Runs the tests N times in a row and stops at the first failure.
soak N="10":
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --quiet --examples
    cargo test --quiet --no-run --test it
    tests=$(cargo test --color never --no-run --test it 2>&1 | sed -n 's/.*Executable .*(\(.*\))$/\1/p')
    output=$(mktemp)
    trap 'rm -f "$output"' EXIT
    for run in $(seq "{{ N }}"); do
        if ! "$tests" > "$output" 2>&1; then
            cat "$output"
            echo "run $run of {{ N }} failed" >&2
            exit 1
        fi
        echo "run $run of {{ N }}: $(grep '^test result' "$output")"
    done

# Checks licences, advisories and sources of dependencies. Needs cargo-deny.
deny:
    cargo deny check

# Compares the public API of each crate with its last release. Needs cargo-semver-checks.
semver:
    cargo semver-checks --workspace --exclude erps-renamed --exclude erps-apps

# Builds every crate from its package archive, as crates.io does.
package:
    cargo package --workspace --exclude erps-renamed --exclude erps-apps --allow-dirty

# Prints the order in which the crates are published: each after its dependencies.
publish-order:
    @echo "serde_etf erps-wire test-universe-macros test-universe erps-macros erps" | tr ' ' '\n'

# Publishes every crate in that order, without uploading.
publish-dry-run:
    cargo publish --workspace --exclude erps-renamed --exclude erps-apps --dry-run --allow-dirty

# Runs one fuzz target, or all in turn, for this many seconds: `just fuzz server 600`. Needs a nightly toolchain
# and cargo-fuzz. Copy inputs that crash to tests/it/corpus, where the tests run them.
fuzz TARGET="all" SECONDS="60":
    #!/usr/bin/env bash
    set -euo pipefail
    ERPS_CORPUS="$PWD/fuzz/corpus" cargo test --quiet --test it writes_the_seeds -- --ignored
    targets="{{ TARGET }}"
    if [ "$targets" = all ]; then
        targets=$(cargo +nightly fuzz list)
    fi
    for target in $targets; do
        cargo +nightly fuzz run -O "$target" -- -max_total_time="{{ SECONDS }}" \
            -max_len=4096 -timeout=10 -rss_limit_mb=2048
    done
