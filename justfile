# A convenience: everything here is one cargo command or script, and README needs none of it.

# what there is
default:
    @just --list --unsorted

# publishes to a store of five terminals on this machine and shows it arriving
demo *ARGS:
    cargo demo {{ ARGS }}

# every test; those that need root or namespaces say so when they could not run
test *ARGS:
    cargo test --workspace {{ ARGS }}

# everything a change must pass
ci:
    .ci/run

# the figures the project promises, or those named; merged into target/figures.json
figures *NAMES:
    cargo run --quiet -p storemesh-sim -- figures {{ NAMES }}

# one store's busiest days of sales, simulated from real patterns, into target/data
sales *ARGS:
    scripts/sales {{ ARGS }}
