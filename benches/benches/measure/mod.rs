//! How wall time is measured: the same for all benches.

use std::time::{Duration, Instant};

use benches::{Bench, prepare};
use criterion::{BenchmarkId, Criterion, Throughput};

/// Measures all sizes of a bench.
pub(crate) fn measure<B: Bench>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(B::NAME);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for size in B::SIZES {
        group.throughput(Throughput::Elements(B::elements(*size)));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            let mut bench = prepare::<B>(*size);
            bencher.iter_custom(|rounds| {
                let start = Instant::now();
                bench.run(rounds);
                start.elapsed()
            });
        });
    }
    group.finish();
}
